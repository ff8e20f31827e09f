"""What there is to know of models: those of a file, and those of the zoo."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.markup import escape
from rich.table import Table

from akida_jax import mapping, zoo
from akida_jax.commands.tables import show
from akida_jax.files import load
from akida_jax.writing import check_target, replace_file
from akida_jax.zoo.parameters import count_parameters
from akida_jax.zoo.pretrained_models import model_card, pretrained_bytes, pretrained_names


def summary(
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    device: Literal["akd1000", "akd1500"] | None = None,
    mode: mapping.Mode = "minimal",
    sparsity: float | None = None,
    batch: int = 1,
) -> None:
    """Show the layers of a model file, and what they take on a device.

    Example: akida-jax summary model.akj --device akd1000 --sparsity 0.6

    Args:
      model: a file written by akida_jax.save (.akj).
      device: place the model on this chip.
      mode: how the model is placed.
      sparsity: share of zeros in every layer's input, in [0, 1]; with it time and energy
        are modelled.
      batch: samples that enter together.
    """
    loaded = load(model)
    if device is None:
        if sparsity is not None or batch != 1 or mode != "minimal":
            raise ValueError(
                "--mode, --sparsity and --batch need a device: add --device akd1000 or akd1500"
            )
        show(loaded.summary())
        return
    placement = mapping.place(loaded, mapping.DEVICES[device], mode)
    if sparsity is None:
        if batch != 1:
            raise ValueError("--batch needs events: add --sparsity, the share of zeros")
        show(loaded.summary(placement))
        return
    shares = {str(layer.name): sparsity for layer in loaded.layers}
    show(loaded.summary(placement, mapping.estimate(placement, shares, batch=batch)))


def show_zoo(
    name: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="NAME")]] = None,
    save: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Show the architectures and the pretrained models, or the card of one of the latter.

    Example: akida-jax zoo akida_tiny_synthetic --save model.akj

    Args:
      name: a pretrained model.
      save: write that model into this file (.akj).
    """
    if name is None:
        if save is not None:
            raise ValueError("--save needs the name of a pretrained model: akida-jax zoo NAME")
        show(_architectures())
        show(_pretrained_models())
        return
    card = model_card(name)
    if save is not None:
        content = pretrained_bytes(name)
        with replace_file(check_target(save)) as stream:
            stream.write(content)
        print(f"{name}: {card.size_bytes:,} bytes written to {save}")
        return
    table = Table("", "", show_header=False, title=f"pretrained model {name}")
    for heading, text in card.lines():
        table.add_row(heading, escape(text))
    show(table)


def _architectures() -> Table:
    table = Table("architecture", "parameters", "default input", title="zoo.build(NAME)")
    for name in zoo.list():
        model = zoo.blank_model(name)
        shape = "x".join(map(str, model.input_shape))
        table.add_row(name, f"{count_parameters(model):,}", shape)
    return table


def _pretrained_models() -> Table:
    table = Table("pretrained model", "data", "integer accuracy", "bytes",
                  "modelled mJ per inference", title="zoo.pretrained(NAME)")  # fmt: skip
    for name in pretrained_names():
        card = model_card(name)
        energy = ", ".join(f"{cost.total_mj:.3f} ({cost.device})" for cost in card.cost)
        accuracy = card.accuracy["integer"]
        runs = f" (mean of {len(accuracy)} runs)" if len(accuracy) > 1 else ""
        mean = sum(accuracy) / len(accuracy)
        table.add_row(name, card.data, f"{mean:.1%}{runs}", f"{card.size_bytes:,}", energy)
    return table
