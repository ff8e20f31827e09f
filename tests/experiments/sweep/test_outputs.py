"""Tables, picture and page of a study that trained nothing."""

import csv
import html.parser
import json
import re

import matplotlib.pyplot as plt
import pyarrow.parquet as pq
import pytest

from experiments.sweeping import outputs, page, pictures, space, tables
from experiments.sweeping.points import ImpossibleError
from tests.experiments.sweep import made_up

EVIL = '<script>alert("1")</script> & "more"'
VOID = {"meta", "path", "use", "rect"}


def measure(trial, point, on_epoch):
    if trial.number == 4:
        raise ImpossibleError(EVIL)
    if trial.number == 5:
        raise RuntimeError("out of memory")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    config = made_up.make_config(folder, storage=f"journal:{folder}/study.log")
    study = made_up.finish(config, measure)
    axes = space.parse_axes(config.axes, config.base)
    return config, outputs.write_all(config, study, axes)


def test_rows_by_hand(finished):
    _, result = finished
    states = [row["state"] for row in result["rows"]]
    assert states == ["complete"] * 4 + ["impossible", "failed"]
    row = result["rows"][1]
    assert (row["param.device"], row["param.batch_size"]) == ("akd1000", 2)
    assert (row["accuracy"], row["energy_mj"], row["nps"]) == (1 - 1 / 3, 2.0, 2)
    assert (row["reason"], row["repeats"], row["repeated_by"]) == (None, None, None)
    # At 1 the AKD1500 takes half of the AKD1000's energy for the same accuracy.
    assert result["front"] == [2, 1, 3]
    assert result["chosen"] == 1
    assert {"commit", "versions", "device", "date", "settings"} <= set(result)
    assert set(result["versions"]) >= {"optuna", "jax", "python"}


def test_three_tables_say_the_same(finished):
    config, result = finished
    parquet = pq.read_table(config.folder / "trials.parquet")
    rows = parquet.to_pylist()
    names = tables.columns(result["rows"])
    assert [list(row) for row in rows] == [names] * 6
    assert rows == [{name: row[name] for name in names} for row in result["rows"]]
    types = {field.name: str(field.type) for field in parquet.schema}
    assert types["param.batch_size"] == "int64"
    assert types["accuracy"] == "double"
    assert types["reason"] == types["param.device"] == "string"
    with (config.folder / "trials.csv").open(newline="") as file:
        texts = list(csv.DictReader(file))
    expected = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
    assert texts == expected
    assert json.loads((config.folder / "trials.json").read_text()) == result
    assert not [path for path in config.folder.iterdir() if path.name.startswith(".")]


def test_a_column_of_mixed_values_is_text(tmp_path):
    rows = [{"trial": i, "param.alpha": value} for i, value in enumerate(("none", "0.5", None))]
    tables.write_tables(rows, tmp_path)
    column = pq.read_table(tmp_path / "trials.parquet")["param.alpha"]
    assert column.to_pylist() == ["none", "0.5", None]


def test_any_complete_trial_can_be_chosen(finished):
    config, result = finished
    chosen = outputs.collect(made_up.make_config(config.output, choose=0), result["rows"])
    assert chosen["chosen"] == 0
    with pytest.raises(ValueError, match="--choose must be a trial with a result, got 5"):
        outputs.collect(made_up.make_config(config.output, choose=5), result["rows"])


class Checker(html.parser.HTMLParser):
    """Notes open tags, and everything that would be loaded from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.loaded += [
            value for name, value in attrs
            if name in ("src", "href", "xlink:href", "action") and not value.startswith("#")
        ]  # fmt: skip

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_whole_escaped_and_loads_nothing(finished):
    _, result = finished
    text = page.make_page(result)
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.loaded == []
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert EVIL not in text
    seen = " ".join("".join(checker.texts).split())
    for part in (
        EVIL,
        "RuntimeError: out of memory",
        "Made <up>",
        "fc_<1>",
        "3 of 4 complete trials are on the front",
        "All 6 trials",
        "expected error: unknown & large",
        "66.67 % of 20 examples tested on",
        "modelled",
        f"optuna {result['versions']['optuna']}",
        "sampler 0, training 0",
    ):
        assert part in seen, part
    # Shares of the layers' energy: two layers of one half each.
    assert text.count("width:50.0%") == 4
    assert text.count("<script>") == 1


def test_a_page_without_any_result():
    row = {"trial": 0, "state": "waiting", "param.alpha": 0.5, "reason": None, "reused": None,
           "repeated_by": None, "trust": None, "device": None, "code": None,
           **dict.fromkeys(tables.MEASURES)}  # fmt: skip
    config = made_up.make_config("nowhere")
    text = page.make_page(outputs.collect(config, [{**row, "title": None}]))
    assert "No trial has a result yet" in text


@pytest.mark.parametrize("objectives", [("accuracy",), ("accuracy", "energy_mj", "nps"), ("nps",)])
def test_pictures_of_one_and_more_objectives(finished, objectives, tmp_path):
    config, result = finished
    config = made_up.make_config(config.output, objectives=objectives)
    drawn = pictures.draw_front(outputs.collect(config, result["rows"]))
    assert len(drawn.axes) == max(1, len(objectives) - 1)
    # Every complete trial is there: four points in two groups, and the front again.
    points = [len(c.get_offsets()) for c in drawn.axes[0].collections]
    assert sum(points[:2]) == 4
    # The legend covers no axes.
    drawn.savefig(tmp_path / "front.png")
    (legend,) = drawn.legends
    assert not any(legend.get_window_extent().overlaps(axis.bbox) for axis in drawn.axes)


def test_the_picture_always_is_the_same(finished):
    config, result = finished
    image = plt.imread(config.folder / "front.png")[..., :3].mean(-1)
    assert 300 < min(image.shape) < max(image.shape) < 2000
    assert image.var() > 1e-3
    first, second = (pictures.front_svg(json.loads(json.dumps(result))) for _ in range(2))
    assert first == second
    assert "currentColor" in first
    assert "#010203" not in first


def test_what_is_committed_names_no_machine(finished):
    _, result = finished
    published = outputs.publish(result)
    text = json.dumps(published)
    assert str(result["rows"][0]["worker"]) not in text
    assert {"worker", "started", "finished"}.isdisjoint(published["rows"][0])
    assert [row["trial"] for row in published["rows"] if row["layers"]] == [result["chosen"]]
    assert "output" not in published["settings"]["base"]


def test_the_front_as_markdown_by_hand(finished):
    _, result = finished
    lines = outputs.front_table(result).splitlines()
    assert lines[0] == ("| trial | device | batch_size | accuracy % | modelled mJ | modelled ms | "
                        "NPs | weights, kB |")  # fmt: skip
    assert lines[2] == "| 2 | akd1000 | 3 | 75.00 | 4.5000 | 2.250 | 3 | 6.0 |"
    assert lines[3] == "| 1 (knee) | akd1000 | 2 | 66.67 | 2.0000 | 1.000 | 2 | 4.0 |"
    assert len(lines) == 2 + len(result["front"])
