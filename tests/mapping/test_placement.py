"""Placement against every published count, and its laws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping.calibration.measurements import model_name, read_table
from experiments.published_models import measured_models, zoo_model

ZOO_ROWS = [row for row in read_table("akida1_zoo") if zoo_model(row) is not None]
MODELS = measured_models()


@pytest.mark.parametrize("row", ZOO_ROWS, ids=lambda row: "-".join(list(row.values())[:5]))
def test_minimal_counts_of_the_published_zoo(row):
    assert mapping.place(zoo_model(row), mapping.mesh(None)).nps == int(row["nps"])


def test_the_published_zoo_is_compared_widely():
    assert len(ZOO_ROWS) == 23


def test_minimal_counts_layer_by_layer():
    """The vendor's public summary of AkidaNet 0.5 at 224, mode Minimal."""
    placed = mapping.place(zoo.blank_model("akidanet", alpha=0.5), mapping.AKD1000)
    names = ("conv_1", "conv_2", "conv_3", "separable_4", "separable_5")
    assert [placed[name].nps for name in names] == [4, 6, 3, 3, 2]


@pytest.mark.parametrize("name", ["ds_cnn_kws", "akidanet_0.5_224"])
def test_all_nps_counts_layer_by_layer(name):
    model = (
        zoo.blank_model("ds_cnn")
        if name == "ds_cnn_kws"
        else zoo.blank_model("akidanet", alpha=0.5)
    )
    rows = [row for row in read_table("akd1000_summaries") if row["model"] == name]
    placed = mapping.place(model, mapping.AKD1000, "all_nps")
    assert [layer.nps for layer in placed.layers] == [int(row["nps"]) for row in rows]


@pytest.mark.parametrize(
    "row", read_table("akd1500_modes"), ids=lambda r: f"{model_name(r)}-{r['mode']}"
)
def test_counts_and_passes_of_the_measurements(row):
    placed = mapping.place(MODELS[model_name(row)], mapping.AKD1500, row["mode"])
    assert (placed.nps + 1, placed.passes) == (int(row["nps"]), int(row["passes"]))


def test_a_split_by_hand():
    """56 columns of 64 channels, 56 rows, at 4 bits: 1,792 bytes a column, 45 KiB hold 25.

    Three strips of 19 columns read one column from each neighbour: 21 columns. All 64
    filters take 3*3*64*64/2 bytes.
    """
    placed = mapping.place(zoo.blank_model("akidanet", alpha=0.5), mapping.AKD1000)
    split = placed["conv_3"].split
    assert (split.strips, split.filter_parts, split.columns) == (3, 1, 21)
    assert split.input_bytes == 21 * 56 * 32
    assert split.weight_bytes == 3 * 3 * 64 * 64 // 2


def test_weights_of_a_large_classifier_are_external():
    placed = mapping.place(zoo.blank_model("akidanet", alpha=0.5), mapping.AKD1000)
    assert placed["classifier"].split.external
    assert placed["classifier"].nps == 1
    assert not placed["separable_13"].split.external


def small_models():
    """Models whose sizes and options force every kind of split."""
    sizes = st.tuples(
        st.integers(2, 70), st.integers(2, 150), st.sampled_from([1, 16, 100, 512]),
        st.sampled_from([1, 3, 5, 7]), st.sampled_from([8, 60, 300, 1024]), st.booleans(),
        st.sampled_from([None, "max", "stride"]), st.sampled_from([1, 2]),
    )  # fmt: skip

    def build(numbers):
        height, width, channels, kernel, filters, separable, shrink, pool_stride = numbers
        kind = aj.SeparableConvolutional if separable and kernel > 1 else aj.Convolutional
        layers = [
            aj.InputData(input_shape=(height, width, channels), input_bits=4),
            kind(filters=filters, kernel_size=3 if shrink == "stride" else kernel, weight_bits=2,
                 stride=2 if shrink == "stride" else 1, pool="max" if shrink == "max" else None,
                 pool_stride=pool_stride, name="first"),
        ]  # fmt: skip
        shape = layers[1].out_shape((height, width, channels))
        pool = "global_average" if shape[0] * shape[1] <= 256 and shape[1] <= 32 else None
        layers.append(aj.Convolutional(filters=40, kernel_size=3, pool=pool, name="second"))
        if pool:
            layers.append(aj.FullyConnected(units=3000, activation=False, name="head"))
        return aj.Model(layers)

    return sizes.map(build)


def all_exceed(model, device):
    """Whether not even the first layer, and with reloading no layer, fits the device."""
    if device.nps is None:
        return False
    counts = [layer.nps for layer in mapping.place(model, mapping.mesh(None, like=device)).layers]
    candidates = counts if device.partial_reconfiguration else counts[:1]
    return min(candidates) > device.nps


@settings(max_examples=60, deadline=None)
@given(small_models(), st.sampled_from([mapping.AKD1000, mapping.AKD1500, mapping.mesh(None)]))
def test_a_placement_never_exceeds_memory_columns_or_processors(model, device):
    if mapping.check(model, device) or all_exceed(model, device):
        with pytest.raises(mapping.MappingError):
            mapping.place(model, device)
        return
    placed = mapping.place(model, device)
    assert placed.nps == sum(layer.nps for layer in placed.layers)
    busy = {}
    for layer in placed.layers:
        split = layer.split
        if split is None:
            continue
        _, width, _ = layer.program.in_shape
        border = getattr(layer.program.spec, "kernel_size", 1) - 1
        assert split.input_bytes <= device.input_bytes_per_np
        assert split.external or split.weight_bytes <= device.weight_bytes_per_np
        assert not split.external or layer.name == "head"
        own = -(-width // split.strips)
        assert layer.name == "head" or own + border <= device.columns_per_np
        assert split.columns >= own
        assert split.filters * split.filter_parts >= layer.program.spec.neurons
        assert len(layer.processors) == split.nps == layer.nps
        taken = busy.setdefault(layer.pass_index, set())
        assert not taken & set(layer.processors)
        taken.update(layer.processors)
    for taken in busy.values():
        assert device.nps is None or max(taken) < device.nps


@settings(max_examples=30, deadline=None)
@given(small_models())
def test_modes_only_add_processors(model):
    try:
        least = mapping.place(model, mapping.AKD1500, hw_only=True)
    except mapping.MappingError:
        return
    for mode in ("all_nps", "hw_pr"):
        more = mapping.place(model, mapping.AKD1500, mode)
        for a, b in zip(least.layers, more.layers, strict=True):
            assert b.nps >= a.nps
    assert mapping.place(model, mapping.AKD1500, "all_nps").passes == least.passes


def test_what_does_not_fit_runs_in_software():
    model = zoo.blank_model("akidanet", alpha=1.0)
    placed = mapping.place(model, mapping.AKD1000)
    (hardware, inside), (software, outside) = placed.sequences
    assert (hardware, software) == ("hardware", "software")
    assert outside[0] == "separable_11"
    assert inside + outside == tuple(layer.name for layer in model.layers)
    assert placed["separable_11"].unit == "software"
    assert placed.nps <= 80
    with pytest.raises(mapping.MappingError) as caught:
        mapping.place(model, mapping.AKD1000, hw_only=True)
    assert [fault.layer for fault in caught.value.faults] == list(outside)
    assert str(caught.value).startswith("4 faults in the placement on AKD1000:\nlayer "
        "'separable_11': needs 8 neural processors, 4 of 80 left; use fewer filters")  # fmt: skip
    assert "layer 'classifier': comes behind layer 'separable_11', which does not fit" in (
        str(caught.value)
    )


def test_with_reloading_only_a_layer_beyond_the_whole_device_is_software():
    model = aj.Model(
        [
            aj.InputData(input_shape=(8, 8, 16), input_bits=4),
            aj.Convolutional(filters=64, kernel_size=3, name="small"),
            aj.SeparableConvolutional(filters=64, kernel_size=3, name="tall"),
            aj.Convolutional(filters=2048, kernel_size=7, name="large"),
            aj.Convolutional(filters=16, kernel_size=1, name="last"),
        ]
    )
    placed = mapping.place(model, mapping.AKD1500)
    assert placed.sequences == (
        ("hardware", ("small", "tall")), ("software", ("large",)), ("hardware", ("last",)),
    )  # fmt: skip
    with pytest.raises(mapping.MappingError, match="'large': needs 74 neural processors, 32 of 32"):
        mapping.place(model, mapping.AKD1500, hw_only=True)


def test_a_device_too_small_for_any_layer_is_refused():
    tiny = mapping.mesh(1)
    model = aj.Model(
        [
            aj.InputData(input_shape=(8, 64, 16), input_bits=4),
            aj.Convolutional(filters=64, kernel_size=3, name="wide"),
        ]
    )
    with pytest.raises(mapping.MappingError, match="'wide': needs 2 neural processors, 1 of 1"):
        mapping.place(model, tiny)


@pytest.mark.parametrize(
    ("device", "mode", "message"),
    [
        (mapping.AKD1000, "hw_pr", "AKD1000 cannot reload weights between passes; use all_nps"),
        (mapping.AKD1000, "fastest", "mode 'fastest' is not one of minimal, all_nps, hw_pr"),
        (mapping.mesh(None), "all_nps", "fills a device, mesh without limit has no end"),
    ],
)
def test_impossible_modes_are_refused(device, mode, message):
    with pytest.raises(ValueError, match=message):
        mapping.place(zoo.blank_model("akida_tiny"), device, mode)


def test_something_else_than_a_model_or_device_is_refused():
    model = zoo.blank_model("akida_tiny")
    with pytest.raises(TypeError, match="place takes a Model, got "):
        mapping.place(list(model.layers), mapping.AKD1000)
    with pytest.raises(TypeError, match=r"place takes a Device, got 'akd1000'; see mapping\.DEV"):
        mapping.place(model, "akd1000")
