"""Pictures of the hardware tables: residuals, a mesh, the cost of its layers."""

from pathlib import Path

from matplotlib.figure import Figure

from akida_jax import mapping, zoo
from akida_jax.mapping import pictures
from akida_jax.pictures import save_figure, style
from experiments.cost_calibration import assumed_sparsity


def draw(result: dict, folder: Path) -> None:
    """Draw the residuals, a mesh and the cost of its layers."""
    save_figure(draw_residuals(result), folder / "cost_residuals.png")
    model = zoo.blank_model("akidanet", alpha=0.5)
    for device, mode in ((mapping.AKD1000, "all_nps"), (mapping.AKD1500, "hw_pr")):
        placement = mapping.place(model, device, mode)  # type: ignore[arg-type]
        cost = mapping.estimate(placement, assumed_sparsity(placement))
        stem = f"{device.name.lower()}_{mode}"
        save_figure(pictures.draw_mesh(placement), folder / f"mesh_{stem}.png")
        save_figure(pictures.draw_cost(placement, cost), folder / f"cost_{stem}.png")


@style.in_style
def draw_residuals(result: dict) -> Figure:
    """Draw modelled over measured cycles and energy against the measurement."""
    figure = Figure(figsize=(10, 4))
    left, right = figure.subplots(1, 2)
    panels = (
        (left, "layer-errors", "measured_kcycles", "error", "left_out", "o",
         style.GREEN, "one layer"),
        (left, "mode-errors", "measured_kcycles", "error", "left_out", "s",
         style.BLUE, "whole model"),
        (right, "mode-errors", "measured_mj", "energy_error", "energy_left_out", "s",
         style.BLUE, "whole model"),
    )  # fmt: skip
    for axis, table, measured, error, left_out, marker, colour, label in panels:
        rows = result["tables"][table]
        x = [row[measured] for row in rows]
        axis.scatter(
            x, [100 * row[error] for row in rows], marker=marker, s=22, color=colour, label=label
        )
        axis.scatter(x, [100 * max(min(row[left_out], 0.5), -0.5) for row in rows], marker=marker,
                     s=22, facecolors="none", edgecolors=style.MUTED,
                     label=f"{label}, its network left out of the fit")  # fmt: skip
    for axis, what in ((left, "cycles, thousands"), (right, "dynamic energy, mJ")):
        axis.axhspan(-20, 20, color=style.PALE, zorder=-2)
        axis.axhspan(-8, 8, color=style.SHADE, zorder=-1)
        axis.axhline(0, color=style.INK, lw=0.6)
        axis.set_xscale("log")
        axis.set_ylim(-55, 55)
        axis.set_xlabel(f"measured {what}")
        axis.legend(fontsize=style.SMALLEST)
    left.set_ylabel("modelled - measured, % (cut at 50)")
    figure.suptitle("Cost model against the published measurements of an AKD1500; bands 8 and 20 %")
    figure.tight_layout()
    return figure
