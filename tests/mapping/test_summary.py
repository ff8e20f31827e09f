import io

import pytest
from rich.console import Console

import akida_jax as aj
from akida_jax import mapping, zoo


@pytest.fixture(scope="module")
def model():
    return zoo.blank_model("akidanet", alpha=0.25, input_shape=(96, 96, 3), classes=10)


@pytest.fixture(scope="module")
def cost_law():
    return mapping.Law(cycles=mapping.Work(*(1.0,) * 7), picojoules={3: 5.0})


def test_summary_of_a_placement(model, golden):
    golden("summary_placement.txt", model.summary(mapping.place(model, mapping.AKD1500, "hw_pr")))


def test_summary_of_a_cost(model, cost_law, golden):
    placement = mapping.place(model, mapping.AKD1000)
    shares = {str(layer.name): 0.5 for layer in model.layers}
    cost = mapping.estimate(placement, shares, law=cost_law)
    golden("summary_cost.txt", model.summary(placement, cost))


def test_a_terminal_gets_rules_and_the_same_cells(model):
    placement = mapping.place(model, mapping.AKD1000)
    summary = model.summary(placement)
    stream = io.StringIO()
    Console(file=stream, width=250, force_terminal=True, color_system=None).print(summary)
    text = stream.getvalue()
    assert "┃" in text
    for column in summary.columns:
        assert column.title in text
        for cell in column.cells.values():
            assert cell in text
    assert placement.notes()[0] in text.replace("\n", " ")


def test_layers_in_software_are_named():
    model = aj.Model(
        [
            aj.InputData(input_shape=(8, 8, 16), input_bits=4),
            aj.Convolutional(filters=64, kernel_size=3, name="in"),
            aj.Convolutional(filters=2048, kernel_size=7, activation=False, name="out"),
        ]
    )
    summary = model.summary(mapping.place(model, mapping.AKD1500))
    (column,) = (c for c in summary.columns if c.title == "NPs")
    assert column.cells == {"in": "1", "out": "software"}


def test_a_narrow_terminal_gets_the_plain_text(model):
    placement = mapping.place(model, mapping.AKD1000)
    for width in (60, 80, 100):
        stream = io.StringIO()
        Console(file=stream, width=width, force_terminal=True, color_system=None).print(
            model.summary(placement)
        )
        text = stream.getvalue()
        assert "…" not in text
        joined = "".join(text.split())
        for name in ("separable_13", "classifier", "4.7of45"):
            assert name in joined


def test_names_are_not_read_as_markup():
    model = aj.Model(
        [
            aj.InputData(input_shape=(1, 1, 4), input_bits=4, name="[red]x"),
            aj.FullyConnected(units=2, activation=False, name="[/y]"),
        ]
    )
    device = mapping.mesh(3, name="[bold]mesh[/b]")
    stream = io.StringIO()
    console = Console(file=stream, width=250, force_terminal=True, color_system=None)
    console.print(model.summary(mapping.place(model, device)))
    for name in ("[red]x", "[/y]", "[bold]mesh[/b]"):
        assert name in stream.getvalue()
