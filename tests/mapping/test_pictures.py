import io

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping import pictures


@pytest.fixture(autouse=True)
def _headless():
    mpl.use("Agg")


@pytest.fixture(scope="module")
def model():
    return zoo.blank_model("akidanet", alpha=0.5)


@pytest.mark.parametrize(
    ("device", "mode"), [(mapping.AKD1000, "all_nps"), (mapping.AKD1500, "hw_pr")]
)
def test_the_mesh_shows_every_processor(model, device, mode):
    placement = mapping.place(model, device, mode)
    figure = pictures.draw_mesh(placement)
    # One square per processor and pass; two more, outline and filling, where a layer works.
    squares = sum(len(axis.patches) for axis in figure.axes)
    assert squares == device.nps * placement.passes + 2 * placement.nps
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "conv_0 (input unit)"
    assert labels[1:] == [f"{layer.name} ({layer.nps})" for layer in placement.layers[1:]]


def test_a_mesh_without_limit_shows_what_is_used(model):
    placement = mapping.place(model, mapping.mesh(None))
    figure = pictures.draw_mesh(placement)
    assert sum(len(axis.patches) for axis in figure.axes) == 32 + 2 * 32


def test_bars_are_as_long_as_the_costs(model):
    placement = mapping.place(model, mapping.AKD1500, "hw_pr")
    cost = mapping.estimate(placement, {str(layer.name): 0.5 for layer in model.layers})
    left, right = pictures.draw_cost(placement, cost).axes
    widths = [bar.get_width() for bar in left.patches]
    count = len(cost.layers)
    totals = [a + b for a, b in zip(widths[:count], widths[count:], strict=True)]
    assert totals == pytest.approx([layer.latency_ms for layer in cost.layers], rel=1e-12)
    energies = [bar.get_width() for bar in right.patches]
    assert energies == pytest.approx([1e3 * layer.dynamic_mj for layer in cost.layers], rel=1e-12)
    assert "modelled" in left.get_xlabel()
    assert "modelled" in right.get_xlabel()


def test_odd_models_are_drawn():
    image = aj.InputConvolutional(
        input_shape=(8, 8, 1), filters=2, kernel_size=3, activation=False, name=r"$\frac$"
    )
    placement = mapping.place(aj.Model([image]), mapping.mesh(None))
    cost = mapping.estimate(placement, {})
    for figure in (pictures.draw_mesh(placement), pictures.draw_cost(placement, cost)):
        figure.savefig(io.BytesIO(), format="png")
    assert not plt.get_fignums()


def test_many_layers_have_many_colours():
    layers = [aj.InputData(input_shape=(4, 4, 2), input_bits=4)]
    layers += [aj.Convolutional(filters=2, kernel_size=1, name=f"layer_{i}") for i in range(30)]
    figure = pictures.draw_mesh(mapping.place(aj.Model(layers), mapping.AKD1000))
    colours = {handle.get_facecolor() for handle in figure.legends[0].get_patches()}
    assert len(colours) == 30
