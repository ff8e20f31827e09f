import itertools

import pytest

from experiments.sweeping import fronts


def rows(*points, names=("accuracy", "energy_mj")):
    return [{"trial": i, **dict(zip(names, point, strict=True))} for i, point in enumerate(points)]


def numbers(front):
    return [row["trial"] for row in front]


def test_a_front_by_hand():
    trials = rows((0.9, 2.0), (0.8, 1.0), (0.7, 1.0), (0.9, 3.0), (0.95, 9.0), (0.8, 1.0))
    # 2 is as dear as 1 and worse; 3 is as good as 0 and dearer; 5 equals 1 and stays.
    front = fronts.pareto_front(trials, ("accuracy", "energy_mj"))
    assert numbers(front) == [4, 0, 1, 5]
    assert numbers(fronts.pareto_front(trials, ("accuracy",))) == [4]
    assert numbers(fronts.pareto_front(trials, ("energy_mj",))) == [1, 2, 5]
    assert fronts.pareto_front([], ("accuracy",)) == []


def test_a_front_is_what_no_other_beats(rng):
    names = ("accuracy", "energy_mj", "nps")
    trials = rows(*rng.integers(0, 6, (60, 3)).tolist(), names=names)

    def beats(a, b):
        no_worse = a["accuracy"] >= b["accuracy"] and all(a[n] <= b[n] for n in names[1:])
        return no_worse and any(a[name] != b[name] for name in names)

    front = fronts.pareto_front(trials, names)
    expected = {b["trial"] for b in trials if not any(beats(a, b) for a in trials)}
    assert set(numbers(front)) == expected
    assert 0 < len(front) < len(trials)
    for a, b in itertools.permutations(front, 2):
        assert not beats(a, b)


@pytest.mark.parametrize(
    ("points", "knee"),
    [
        # Scaled to the front: (0, 1), (0.25, 0.125), (1, 0), distances 1, 0.28, 1.
        (((0.9, 9.0), (0.8, 2.0), (0.5, 1.0)), 1),
        (((0.9, 1.0),), 0),
        # Both ends are as far from the ideal point: the first counts.
        (((0.9, 9.0), (0.5, 1.0)), 0),
    ],
)
def test_the_knee_by_hand(points, knee):
    objectives = ("accuracy", "energy_mj")
    front = fronts.pareto_front(rows(*points), objectives)
    assert fronts.choose_knee(front, objectives)["trial"] == knee
