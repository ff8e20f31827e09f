import dataclasses

import pytest

from akida_jax import mapping


@pytest.mark.parametrize("device", mapping.DEVICES.values(), ids=lambda device: device.name)
def test_every_number_has_a_unit_and_a_source(device):
    facts = {fact.name: fact for fact in device.facts()}
    numbers = {
        field.name
        for field in dataclasses.fields(device)
        if isinstance(getattr(device, field.name), int | float)
    }
    assert numbers <= set(facts)
    assert facts["threshold_bits"].unit == "bits"
    for fact in facts.values():
        assert fact.source
        assert fact.unit or isinstance(fact.value, bool)


def test_the_published_chips():
    assert (mapping.AKD1000.nps, mapping.AKD1000.clock_hz) == (80, 300e6)
    assert (mapping.AKD1500.nps, mapping.AKD1500.clock_hz) == (32, 400e6)
    assert mapping.AKD1500.partial_reconfiguration
    assert 905 <= mapping.AKD1000.idle_mw <= 914
    assert 111 <= mapping.AKD1500.idle_mw <= 116


def test_a_mesh_of_ones_own():
    mesh = mapping.mesh(6, like=mapping.AKD1500, clock_hz=1e6)
    assert (mesh.nps, mesh.clock_hz, mesh.nps_per_node) == (6, 1e6, 4)
    sources = {fact.name: fact.source for fact in mesh.facts()}
    assert sources["nps"] == sources["clock_hz"] == "given by the user"
    assert sources["idle_mw"] == "vendor's public measurements: core rail, 111 to 116 mW"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nps": 0}, "nps must be a positive whole number of neural processors, got 0"),
        ({"nps": 4, "clock_hz": float("nan")}, "clock_hz must be a positive number of Hz, got nan"),
        ({"nps": 4, "idle_mw": "much"}, "idle_mw must be a positive number of mW, got 'much'"),
        ({"nps": 2.5}, "nps must be a positive whole number of neural processors, got 2.5"),
        ({"nps": 4, "nps_per_node": 1.5}, "nps_per_node must be a positive whole number"),
        ({"nps": 4, "input_unit": 1}, "input_unit must be a bool, got 1"),
    ],
)
def test_impossible_meshes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        mapping.mesh(**changes)


def test_a_number_without_a_source_is_refused():
    sources = {k: v for k, v in mapping.AKD1000.sources.items() if k != "clock_hz"}
    with pytest.raises(ValueError, match="clock_hz has no source"):
        dataclasses.replace(mapping.AKD1000, sources=sources)
