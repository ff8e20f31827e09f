"""Seconds that placing and costing the largest networks takes.

    python -m benchmarks.placement

Writes results/placement.json.
"""

import functools

from rich.console import Console
from rich.table import Table

from akida_jax import mapping, zoo
from benchmarks.timing import measure_in_turns, write_result

NETWORKS = (("akidanet", 1.0), ("mobilenet", 1.0), ("akidanet", 0.5))


def main() -> None:
    """Measure, print and write."""
    rows = []
    table = Table("network", "mode", "place, ms", "estimate, ms", title="placement (median)")
    for name, alpha in NETWORKS:
        model = zoo.blank_model(name, alpha=alpha)
        shares = {str(layer.name): 0.5 for layer in model.layers}
        for mode in mapping.MODES:
            placement = mapping.place(model, mapping.AKD1500, mode)
            variants = measure_in_turns(
                {
                    "place": functools.partial(mapping.place, model, mapping.AKD1500, mode),
                    "estimate": functools.partial(mapping.estimate, placement, shares),
                }
            )
            rows.append({"network": f"{name} {alpha:g}", "mode": mode, "variants": variants})
            medians = [f"{1e3 * variants[v]['median_s']:.2f}" for v in ("place", "estimate")]
            table.add_row(f"{name} {alpha:g}", mode, *medians)
    Console().print(table)
    print(write_result("placement", rows))


if __name__ == "__main__":
    main()
