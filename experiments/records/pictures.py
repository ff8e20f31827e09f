"""Pictures of results, in one style; all but the gallery are drawn from the JSON alone.

python -m experiments.records.pictures RESULT.json FOLDER
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from akida_jax import pictures
from akida_jax.pictures import save_figure, style

COLOURS = {"akida_tiny": style.GREEN, "akida_small": style.BLUE}
LABELS = {"akida_tiny": "Akida Tiny", "akida_small": "Akida Small", "akidanet": "AkidaNet",
          "akidanet_faces": "AkidaNet", "gxnor": "GXNOR", "mobilenet": "MobileNet v1",
          "mobilenet_faces": "MobileNet v1"}  # fmt: skip


@style.in_style
def draw_gallery(
    x: np.ndarray, y: np.ndarray, names: Sequence[str], path: Path, title: str
) -> None:
    """Draw one window of each class, bin by bin."""
    bins = x.shape[3] // 2
    figure = Figure(figsize=(0.95 * bins + 1.6, 0.95 * len(names) + 0.5))
    axes = figure.subplots(len(names), bins, squeeze=False)
    for label, row in enumerate(axes):
        members = np.flatnonzero(y == label)
        for i, axis in enumerate(row):
            style.hide_ticks(axis)
            if len(members):
                # The window with the median number of events stands for its class.
                order = np.argsort(x[members].sum((1, 2, 3)), kind="stable")
                frame = x[members[order[len(order) // 2]]]
                axis.imshow(pictures.colour_frame(frame[..., 2 * i : 2 * i + 2]))
        row[0].set_ylabel(names[label].replace("_", " "), rotation=0, ha="right", va="center")
    for i, axis in enumerate(axes[0]):
        axis.set_title(f"bin {i + 1}")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / figure.get_figheight()))
    figure.suptitle(f"{title}\nevent frames: On vermilion, Off blue")
    save_figure(figure, path)


@style.in_style
def draw_history(result: dict, path: Path) -> None:
    """Draw loss and test accuracy over the epochs."""
    history = result["history"]
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.2))
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in history], color=style.INK, marker="o")
    left.set_ylabel("training loss")
    left.set_yscale("log")
    right.plot(epochs, [100 * row["test_accuracy"] for row in history],
               color=COLOURS.get(result["config"]["model"]), marker="o")  # fmt: skip
    right.set_ylabel("test accuracy, %")
    boundary = sum(row["phase"] == "float" for row in history) + 0.5
    for axis in (left, right):
        axis.set_xlabel("epoch")
        axis.axvline(boundary, color=style.MUTED, ls="--", lw=1)
        axis.text(boundary, axis.get_ylim()[1], " quantized", va="top", fontsize=style.SMALL)
        axis.grid()
    figure.suptitle(result["title"])
    figure.tight_layout()
    save_figure(figure, path)


def draw_confusion(result: dict, path: Path) -> None:
    """Draw the confusion matrix of the integer model."""
    right = f"{result['accuracy']['integer']:.1%} of {result['n_test']:,} test examples"
    title = f"{result['title']}\n{right}"
    confusion = np.array(result["confusion"])
    save_figure(pictures.draw_confusion(confusion, result["class_names"], title), path)


def main(source: Path, folder: Path) -> None:
    """Draw the pictures of one result again."""
    result = json.loads(source.read_text())
    draw_history(result, folder / "training.png")
    draw_confusion(result, folder / "confusion.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m experiments.records.pictures RESULT.json FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
