"""Pictures of results, in one style; all but the gallery are drawn from the JSON alone.

python -m experiments.records.pictures RESULT.json FOLDER
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from akida_jax.writing import replace_file

COLOURS = {"akida_tiny": "#1b7837", "akida_small": "#762a83"}
LABELS = {"akida_tiny": "Akida Tiny", "akida_small": "Akida Small", "akidanet": "AkidaNet",
          "akidanet_faces": "AkidaNet", "gxnor": "GXNOR", "mobilenet": "MobileNet v1",
          "mobilenet_faces": "MobileNet v1"}  # fmt: skip
_ON, _OFF = np.array([0.84, 0.19, 0.15]), np.array([0.13, 0.40, 0.67])


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG under a temporary name and rename it; close the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as stream:
        figure.savefig(stream, dpi=130, bbox_inches="tight", format="png")
    plt.close(figure)


def _colour(frame: np.ndarray) -> np.ndarray:
    """Return an RGB image of one bin: On red, Off blue, on white."""
    strength = np.minimum(frame.astype(float), 4) / 4
    ink = strength[..., :1] * (1 - _ON) + strength[..., 1:] * (1 - _OFF)
    return np.clip(1 - ink, 0, 1)


def draw_gallery(
    x: np.ndarray, y: np.ndarray, names: Sequence[str], path: Path, title: str
) -> None:
    """Draw one window of each class, bin by bin."""
    bins = x.shape[3] // 2
    figure, axes = plt.subplots(
        len(names), bins, figsize=(0.95 * bins + 1.6, 0.95 * len(names) + 0.5), squeeze=False
    )
    for label, row in enumerate(axes):
        members = np.flatnonzero(y == label)
        for i, axis in enumerate(row):
            axis.set_xticks([])
            axis.set_yticks([])
            if len(members):
                # The window with the median number of events stands for its class.
                order = np.argsort(x[members].sum((1, 2, 3)), kind="stable")
                frame = x[members[order[len(order) // 2]]]
                axis.imshow(_colour(frame[..., 2 * i : 2 * i + 2]))
        row[0].set_ylabel(names[label].replace("_", " "), rotation=0, ha="right", va="center")
    for i, axis in enumerate(axes[0]):
        axis.set_title(f"bin {i + 1}", fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / figure.get_figheight()))
    figure.suptitle(f"{title}\nevent frames: On red, Off blue", fontsize=10)
    save_figure(figure, path)


def draw_history(result: dict, path: Path) -> None:
    """Draw loss and test accuracy over the epochs."""
    history = result["history"]
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    left.plot(epochs, [row["loss"] for row in history], color="#333333", marker="o", ms=3)
    left.set_ylabel("training loss")
    left.set_yscale("log")
    right.plot(epochs, [100 * row["test_accuracy"] for row in history],
               color=COLOURS.get(result["config"]["model"]), marker="o", ms=3)  # fmt: skip
    right.set_ylabel("test accuracy, %")
    boundary = sum(row["phase"] == "float" for row in history) + 0.5
    for axis in (left, right):
        axis.set_xlabel("epoch")
        axis.axvline(boundary, color="#999999", ls="--", lw=1)
        axis.text(boundary, axis.get_ylim()[1], " quantized", va="top", fontsize=8)
        axis.grid(alpha=0.3)
    figure.suptitle(result["title"], fontsize=10)
    figure.tight_layout()
    save_figure(figure, path)


def draw_confusion(result: dict, path: Path) -> None:
    """Draw the confusion matrix of the integer model."""
    confusion = np.array(result["confusion"])
    names = [name.replace("_", " ") for name in result["class_names"]]
    size = 0.42 * len(names) + 2.4
    figure, axis = plt.subplots(figsize=(size, size))
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            shade = "white" if share[row, column] > 0.5 else "black"
            axis.text(column, row, count, ha="center", va="center", color=shade, fontsize=8)
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlabel("predicted by the integer model")
    axis.set_ylabel("class")
    axis.set_title(f"{result['title']}\n{result['accuracy']['integer']:.1%} of "
                   f"{result['n_test']} windows", fontsize=10)  # fmt: skip
    save_figure(figure, path)


def main(source: Path, folder: Path) -> None:
    """Draw the pictures of one result again."""
    result = json.loads(source.read_text())
    draw_history(result, folder / "training.png")
    draw_confusion(result, folder / "confusion.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m experiments.records.pictures RESULT.json FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
