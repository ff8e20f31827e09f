"""Notebooks: committed without outputs, installed from the source archive, run at smoke size."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from experiments import notebooks
from experiments.records.documents import fill

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra notebooks")
pytest.importorskip("nbclient", reason="notebooks need the extra notebooks")

#: What must hold in each notebook's namespace behind its last cell, worked out in another way.
CHECKS = {
    "quickstart": """
expected = evaluation.integers(twin, x_test)
for executor in ("dense", "event"):
    found = model.forward(x_test, executor=executor)
    assert found.dtype == np.int32 and np.array_equal(found, expected)
assert [layer.weight_bits for layer in model.layers] == [8, 4, 4, 4]
assert [row["phase"] for row in history] == ["float", "float", "quantized"]
right = [int(row.ravel().argmax()) == y for row, y in zip(model.predict(x_test), y_test)]
assert history[-1]["test_accuracy"] == sum(right) / len(right)
assert activity["conv_0"].events_in == sum(int(v != 0) for v in x_test.ravel())
assert sum(layer.nps for layer in placement.layers) == placement.nps <= 80
""",
    "dvs_gestures": """
assert result["potentials_equal"] == {"dense": True, "event": True}
answers = [int(row.ravel().argmax()) for row in model.predict(frames.test_x)]
right = [answer == y for answer, y in zip(answers, frames.test_y)]
assert result["accuracy"]["integer"] == sum(right) / len(right)
first = next(iter(activity.values()))
assert first.events_in == int((frames.test_x > 0).sum())
assert first.samples == len(frames.test_x) == sum(map(sum, result["confusion"]))
counts = {name: (frames.test_y == i).sum() for i, name in enumerate(dataset.class_names)}
mean = sum(counts[name] * by_class[name][0] for name in by_class) / len(frames.test_x)
assert abs(mean - first.events_in / first.samples) < 1e-6 * mean  # eleven float64 products
assert own.max() <= 15 and own.shape[1:] == (128, 128, 10)
""",
    "few_shot": """
assert set(learner.weights.sum(1)) == {num_weights}
assert len(learner.weights) == (len(classes.old_names) + pool.ways) * config.neurons_per_class
assert np.array_equal(learner.weights[: len(before)], before)
again = aj.EdgeLearner.load(FOLDER / "learned.akl")
assert np.array_equal(again.predict(spikes), expected)
loaded = aj.load(FOLDER / "learned.akj")
assert loaded.layers[-1].weight_bits == 1
taught = learner.statistics().threshold > 0
by_hand = spikes.astype(np.int32) @ (learner.weights * taught[:, None]).T.astype(np.int32)
assert np.array_equal(loaded.forward(new.x).reshape(by_hand.shape), by_hand)
assert set(rows) == {str(shots) for shots in config.shots}
""",
    "sweep": """
assert sorted(row["state"] for row in rows) == ["complete"] * 3 + ["impossible"]
assert [row["param.device"] + row["param.mode"] for row in refused] == ["akd1000hw_pr"]
assert sum(not row["reused"] for row in complete) == 1
def better(one, other):
    no_worse = one["accuracy"] >= other["accuracy"] and one["energy_mj"] <= other["energy_mj"]
    return no_worse and (one["accuracy"], one["energy_mj"]) != (
        other["accuracy"], other["energy_mj"])
unbeaten = {row["trial"] for row in complete if not any(better(o, row) for o in complete)}
assert set(result["front"]) == unbeaten
assert chosen["trial"] in {row["trial"] for row in complete}
assert all(row["energy_mj"] >= chosen["energy_mj"] for row in good)
""",
    # Four layers in float32, sums of up to 288 products, each rounded by at most 2**-24 of the sum
    # of magnitudes: 4 * 288 * 2**-24 < 1e-4; ten times as much for what cancels in the logits.
    "keras_to_c": """
assert np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max()
assert np.array_equal(from_c, potentials.reshape(from_c.shape)) and from_c.shape == (359, 10)
assert np.array_equal(evaluation.integers(twin, x_test), model.forward(x_test, executor="event"))
assert aj.interop.from_keras(FOLDER / "quantized.h5").model is not None
assert report.flash_bytes > sum(layer.weight_bytes for layer in report.layers) > 0
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_runs_and_its_results_hold(name, tmp_path):
    done = notebooks.execute(name, tmp_path, size="smoke", then=[CHECKS[name]])
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    texts = [output.get("text", "") for cell in cells for output in cell.outputs]
    assert "Traceback" not in "".join(texts)
    assert "\x1b[" not in "".join(texts)  # bars and colours are for terminals
    if name in notebooks.SHOWN:
        assert notebooks.drawn(name, tmp_path).read_bytes().startswith(b"\x89PNG")
        assert any("image/png" in o.get("data", {}) for cell in cells for o in cell.outputs)


def test_the_document_links_every_notebook_and_no_other():
    there = {path.stem for path in notebooks.NOTEBOOKS.glob("*.ipynb")}
    linked = re.findall(r"\(notebooks/(\w+)\.ipynb\)", notebooks.DOCUMENT.read_text())
    assert there == set(notebooks.NAMES) == set(CHECKS)
    assert linked == list(notebooks.NAMES)


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_is_valid_and_holds_no_outputs(name):
    notebook = notebooks.read(name)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    for cell in notebook.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def first_cell(name):
    """The cell that installs the project; what a notebook adds to it stands behind a blank line."""
    cells = [cell.source for cell in notebooks.read(name).cells if cell.cell_type == "code"]
    return cells[0]


def test_all_notebooks_begin_with_the_same_cell():
    plain = first_cell("quickstart")
    assert all(first_cell(name).startswith(plain) for name in notebooks.NAMES)
    assert [name for name in notebooks.NAMES if first_cell(name) != plain] == ["keras_to_c"]


def build_archive(folder):
    """Build the source archive that a reader uploads."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=notebooks.ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("akida_jax-*.tar.gz")
    return archive


def test_the_first_cell_installs_an_uploaded_archive(tmp_path, monkeypatch):
    build_archive(tmp_path)
    honest, asked = subprocess.run, []

    def run(arguments, **options):
        asked.append(arguments)
        if arguments[0] == "tar":
            return honest(arguments, **options)
        return None

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(first_cell("quickstart"), {})
    project = Path(sys.path[0])
    assert project.parent == tmp_path
    assert project.name.startswith("akida_jax-")
    assert asked[1] == [sys.executable, "-m", "pip", "install", "--quiet", project]
    code = (
        "import akida_jax, experiments.sweep; from akida_jax import mapping, quant, zoo; "
        "print(*(m.__file__ for m in (akida_jax, mapping, quant, zoo, experiments)), sep='\\n')"
    )
    told = honest([sys.executable, "-c", code], cwd=project, check=True, capture_output=True)
    assert all(Path(line).is_relative_to(project) for line in told.stdout.decode().split())
    assert {path.stem for path in (project / "docs" / "notebooks").iterdir()} == set(
        notebooks.NAMES
    )


INSTALLED = """
import pathlib, sys
import akida_jax, akida_jax.quant
from akida_jax import mapping, zoo
modules = (akida_jax, akida_jax.quant, mapping, zoo)
assert all(pathlib.Path(m.__file__).is_relative_to(sys.argv[1]) for m in modules), modules
model = zoo.pretrained("gxnor_digits")  # a packaged file, as the cost law of the device is one
placement = mapping.place(model, mapping.AKD1500)
print(mapping.estimate(placement, {layer.name: 0.5 for layer in placement.layers}).latency_ms)
"""


@pytest.mark.slow
def test_pip_installs_the_archive_whole(tmp_path):
    """The folder that the first cell unpacks has links, which pip must follow."""
    archive = build_archive(tmp_path)
    subprocess.run(["tar", "xzf", archive], cwd=tmp_path, check=True)
    folder = tmp_path / archive.name.removesuffix(".tar.gz")
    for name, source in {"from_archive": archive, "from_folder": folder}.items():
        target = tmp_path / name
        options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", target]
        command = [sys.executable, "-m", "pip", "install", *options, source]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told = subprocess.run(
            [sys.executable, "-c", INSTALLED, target],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert float(told.stdout) > 0
        assert not (target / "experiments").exists()  # those the first cell takes from the folder


def test_without_an_archive_the_first_cell_says_what_to_upload(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"upload the source archive, akida_jax-VERSION"):
        exec(first_cell("quickstart"), {})


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A notebook of one cell in place of the committed ones."""
    cell = nbformat.v4.new_code_cell(
        "import os, experiments; size = os.environ['AKIDA_JAX_NOTEBOOK_SIZE']; print(size)"
    )
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "tiny.ipynb")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)
    return tmp_path


def test_the_size_reaches_the_kernel_and_later_cells_see_its_names(tiny):
    done = notebooks.execute("tiny", tiny / "work", size="smoke", then=["print(size * 2)"])
    assert [cell.outputs[0].text for cell in done.cells] == ["smoke\n", "smokesmoke\n"]
    assert len(notebooks.read("tiny").cells) == 1


def test_a_cell_that_fails_ends_the_run(tiny):
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match="AssertionError"):
        notebooks.execute("tiny", tiny / "work", size="smoke", then=["assert size == 'full'"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ("quickstart", "slow")}, "--names must be one of quickstart, .*, got slow"),
        ({"names": ()}, "--names must name at least one value"),
        ({"keep": True, "size": "smoke"}, "--keep needs --size full, got smoke"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        notebooks.Config(**settings)


def test_what_is_kept_joins_what_was_there(tmp_path, monkeypatch):
    document = tmp_path / "notebooks.md"
    document.write_text("before\n<!-- table: times -->\n<!-- end -->\nbehind\n")
    for name, path in (("DOCUMENT", document), ("RESULTS", tmp_path / "notebooks.json"),
                       ("PICTURES", tmp_path)):  # fmt: skip
        monkeypatch.setattr(notebooks, name, path)
    picture = notebooks.drawn("quickstart", tmp_path / "runs" / "quickstart")
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"drawn")
    for name, seconds in (("keras_to_c", 90.0), ("quickstart", 30.0), ("keras_to_c", 120.0)):
        notebooks.keep({name: {"seconds": seconds, "processor_s": 60.0}}, tmp_path / "runs")
    assert document.read_text().splitlines() == [
        "before",
        "<!-- table: times -->",
        "| notebook | minutes | minutes of processor time |",
        "| --- | ---: | ---: |",
        "| quickstart.ipynb | 0.5 | 1.0 |",
        "| keras_to_c.ipynb | 2.0 | 1.0 |",
        "<!-- end -->",
        "behind",
    ]
    assert (tmp_path / "notebook_quickstart.png").read_bytes() == b"drawn"


def test_a_run_leaves_the_notebook_with_its_outputs(tiny):
    config = notebooks.Config(size="smoke", output=str(tiny / "runs"))
    object.__setattr__(config, "names", ("tiny",))
    runs = notebooks.run(config, Console(quiet=True))
    assert runs["tiny"]["seconds"] > 0 < runs["tiny"]["processor_s"]
    assert runs["tiny"]["versions"]["nbclient"]
    left = nbformat.read(tiny / "runs" / "tiny" / "tiny.ipynb", as_version=4)
    assert left.cells[0].outputs[0].text == "smoke\n"


def test_the_document_shows_the_committed_results():
    result = json.loads(notebooks.RESULTS.read_text())
    assert set(result["runs"]) <= set(notebooks.NAMES)
    text = notebooks.DOCUMENT.read_text()
    assert "<!-- table: times -->" in text
    assert fill(text, {"times": notebooks.times_table(result)}) == text
    shown = re.findall(r"pictures/notebook_(\w+)\.png", text)
    assert set(shown) == notebooks.SHOWN.keys() & result["runs"].keys()
