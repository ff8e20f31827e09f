import pytest

from experiments import dvs_report
from tests.experiments import made_up


@pytest.mark.parametrize("document", ["README.md", "docs/dvs-gesture.md"])
def test_tables_in_the_documents_are_those_of_the_json(document):
    text = (dvs_report.ROOT / document).read_text()
    assert "<!-- table: accuracy -->" in text
    assert dvs_report.fill(text, dvs_report.tables()) == text


def test_fill_replaces_only_between_its_markers():
    text = "a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->"
    filled = dvs_report.fill(text, {"one": "new", "three": "nowhere"})
    assert filled == text.replace("old", "new")


def _run(preset, seed, integer):
    titles = {"default": "synthetic", "nmnist": "nmnist", "clips": "clips"}
    return {
        "preset": preset,
        "n_test": 100,
        "config": {"data": titles[preset], "model": "akida_tiny", "seed": seed, "window_ms": 100.0},
        "accuracy": {"float": 0.96, "integer": integer},
        "sparsity": {"conv_0": 0.25 * (seed + 1)},
    }


def test_tables_by_hand():
    runs = [_run(p, s, 0.9 + 0.01 * s) for p in dvs_report.PRESETS for s in dvs_report.SEEDS]
    accuracy = dvs_report.accuracy_table({"runs": runs}).splitlines()
    assert accuracy[2] == (
        "| synthetic gestures, Akida Tiny, 100 ms | 100 | 96.0 % | 91.0 % | 90.0, 91.0, 92.0 |"
    )
    assert dvs_report.sparsity_table({"runs": runs}).splitlines()[2] == (
        "| conv_0 | 50.0% | 50.0% | 50.0% |"
    )


def test_window_table_by_hand():
    result = made_up.window_result()
    for point in result["points"]:
        longer = point["window_ms"] == 100.0
        point |= {"n_train": 500 if longer else 1500, "epochs": [6, 1] if longer else [2, 1]}
    assert dvs_report.window_table(result).splitlines()[2:] == [
        "| Akida Tiny | 48.0% | 80.0% |",
        "| Akida Small | 48.0% | 80.0% |",
        "| training windows, float epochs | 3,000 | 3,000 |",
        "| training windows, quantized epochs | 1,500 | 500 |",
    ]
