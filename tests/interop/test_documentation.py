"""The code of docs/keras.md runs as it stands."""

import re
from pathlib import Path

import numpy as np

from tests.interop.keras_writer import write_keras

PAGE = Path(__file__).resolve().parents[2] / "docs" / "keras.md"


def test_from_keras_to_a_placed_model_and_back(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 1, 4))
    layers = [
        ("Rescaling", {"scale": 1 / 255}, {}),
        ("Conv2D", {"padding": "same", "use_bias": False}, {"kernel": kernel}),
        ("ReLU", {"max_value": 6.0}, {}),
        ("GlobalAveragePooling2D", {}, {}),
        ("Dense", {"use_bias": False}, {"kernel": rng.normal(size=(4, 3))}),
    ]  # fmt: skip
    write_keras(tmp_path / "model.h5", layers, (8, 8, 1))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "inserted: the chip averages in front of the activation" in printed
    assert names["placement"].nps >= 1
    assert (tmp_path / "quantized.h5").is_file()
