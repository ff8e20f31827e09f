"""The programs of docs/exports.md run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import akida_jax as aj
from tests.samples import small_model

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text()


@pytest.mark.parametrize("title", ["JAX", "ONNX"])
def test_the_programs_of_a_section_run(title, rng, tmp_path):
    if title == "ONNX":
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    model = small_model(rng)
    x = rng.integers(0, 256, (3, *model.input_shape), dtype=np.uint8)
    aj.save(model, tmp_path / "model.akj")
    np.save(tmp_path / "input.npy", x)
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    write, read = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for program in (write, f'{read}\nnp.save("y.npy", potentials)'):
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model.forward(x), strict=True)
