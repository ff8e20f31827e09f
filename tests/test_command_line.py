import subprocess
import sys

import pytest

import akida_jax as aj


def _run(*arguments):
    command = [sys.executable, "-m", "akida_jax.command_line", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model():
    return aj.Model(
        [
            aj.InputData(input_shape=(1, 1, 8), input_bits=1),
            aj.FullyConnected(units=3, activation=False, name="head"),
        ]
    )


def test_summary_of_a_file(model, tmp_path):
    aj.save(model, tmp_path / "m.akj")
    result = _run("summary", tmp_path / "m.akj")
    assert result.returncode == 0, result.stderr
    assert result.stdout == model.summary() + "\n"


def test_missing_and_damaged_files_end_with_code_2(model, tmp_path):
    result = _run("summary", tmp_path / "none.akj")
    assert result.returncode == 2
    assert "No such file" in result.stderr
    (tmp_path / "bad.akj").write_bytes(b"PK\x03\x04 nonsense")
    result = _run("summary", tmp_path / "bad.akj")
    assert result.returncode == 2
    assert "bad.akj: not a model file, or truncated or damaged" in result.stderr
    assert "Traceback" not in result.stderr


def test_info_names_versions_and_executors():
    result = _run("info")
    assert result.returncode == 0, result.stderr
    assert "akida-jax" in result.stdout
    assert "dense, event" in result.stdout
