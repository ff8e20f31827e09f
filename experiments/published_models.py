"""The networks of published tables as integer models without weights.

Source of the shapes: docs/cost-model.md#networks.
"""

from typing import Any

import akida_jax as aj
from akida_jax import zoo


def akidanet_edge(alpha: float, height: int, width: int, classes: int) -> aj.Model:
    """Return AkidaNet with the head for learning on the chip: 2,048 one-bit filters."""
    return _with_head(
        alpha, height, width,
        aj.SeparableConvolutional(filters=2048, kernel_size=3, pool="global_average",
                                  act_bits=1, name="spike_generator"),
        aj.FullyConnected(units=classes, activation=False, weight_bits=2, name="classifier"),
    )  # fmt: skip


def akidanet_faces(alpha: float, height: int, width: int, classes: int | None) -> aj.Model:
    """Return AkidaNet with a face embedding of 128, and a classifier unless None."""
    pooled = zoo.blank_model("akidanet", alpha=alpha, input_shape=(height, width, 3))
    head = [aj.FullyConnected(units=128, activation=classes is not None, name="embedding")]
    if classes is not None:
        head.append(aj.FullyConnected(units=classes, activation=False, name="classifier"))
    return aj.Model([*pooled.layers[:-1], *head])


def akidanet_plant_village() -> aj.Model:
    """Return AkidaNet 0.5 at 224 with a hidden layer of 512 and 38 classes."""
    pooled = zoo.blank_model("akidanet", alpha=0.5)
    return aj.Model(
        [
            *pooled.layers[:-1],
            aj.FullyConnected(units=512, name="fc_1"),
            aj.FullyConnected(units=38, activation=False, name="predictions"),
        ]
    )


def yolo_detector(classes: int, *, base: str = "akidanet") -> aj.Model:
    """Return the YOLOv2 detector on AkidaNet (or MobileNet) 0.5 at 224, five anchors."""
    body = zoo.blank_model(base, alpha=0.5, include_top=False)
    head = [aj.SeparableConvolutional(filters=1024, kernel_size=3, name=f"head_{i}")
            for i in (1, 2, 3)]  # fmt: skip
    outputs = 5 * (5 + classes)
    last = aj.SeparableConvolutional(filters=outputs, kernel_size=3, activation=False, name="boxes")
    return aj.Model([*body.layers, *head, last])


def vgg_like() -> aj.Model:
    """Return the age regression at 8/2/2 bits; widths inferred from its 458K parameters."""
    bits: dict[str, Any] = {"weight_bits": 2, "act_bits": 2}
    return aj.Model(
        [
            aj.InputConvolutional(input_shape=(32, 32, 3), filters=32, kernel_size=3, act_bits=2),
            aj.Convolutional(filters=32, kernel_size=3, pool="max", **bits),
            aj.Convolutional(filters=64, kernel_size=3, **bits),
            aj.Convolutional(filters=64, kernel_size=3, pool="max", **bits),
            aj.Convolutional(filters=84, kernel_size=3, **bits),
            aj.FullyConnected(units=64, **bits),
            aj.FullyConnected(units=1, activation=False, **bits),
        ]
    )


def arrhythmia() -> aj.Model:
    """Return the electrocardiogram network with 5x5 separable layers."""
    return aj.Model(
        [
            aj.InputConvolutional(input_shape=(36, 32, 1), filters=16, kernel_size=5),
            aj.SeparableConvolutional(filters=32, kernel_size=5, pool="max"),
            aj.SeparableConvolutional(filters=64, kernel_size=5, pool="max"),
            aj.SeparableConvolutional(filters=128, kernel_size=5, pool="global_average"),
            aj.FullyConnected(units=64),
            aj.FullyConnected(units=3, activation=False),
        ]
    )


def ds_cnn() -> aj.Model:
    """Return the keyword spotter: four separable layers of 64 filters, 33 words."""
    middle = [aj.SeparableConvolutional(filters=64, kernel_size=3, name=f"separable_{i}")
              for i in (1, 2, 3)]  # fmt: skip
    return aj.Model(
        [
            aj.InputConvolutional(input_shape=(49, 10, 1), filters=64, kernel_size=5, name="conv_0",
                                  stride=2),
            *middle,
            aj.SeparableConvolutional(filters=64, kernel_size=3, pool="global_average",
                                      name="separable_4"),
            aj.FullyConnected(units=33, activation=False, name="dense_5"),
        ]
    )  # fmt: skip


def _with_head(alpha: float, height: int, width: int, *head: aj.SeparableConvolutional
               | aj.FullyConnected) -> aj.Model:  # fmt: skip
    body = zoo.blank_model("akidanet", alpha=alpha, input_shape=(height, width, 3),
                           include_top=False)  # fmt: skip
    return aj.Model([*body.layers, *head])


def measured_models() -> dict[str, aj.Model]:
    """Return the networks of the AKD1500 measurements by their name in the tables."""
    models = {
        f"akidanet_{alpha:.1f}_{side}_imagenet": zoo.blank_model(
            "akidanet", alpha=alpha, input_shape=(side, side, 3)
        )
        for alpha in (0.5, 1.0)
        for side in (160, 224)
    }
    models["akidanet_0.5_224_plant_village"] = akidanet_plant_village()
    models["arrhythmia_sep5x5"] = arrhythmia()
    return models


def zoo_model(row: dict[str, str]) -> aj.Model | None:
    """Return the network of a row of the published model zoo; None for one not built yet."""
    name = row["model"]
    if name == "ds_cnn":
        return ds_cnn()
    if name == "vgg_like_8_2_2":
        return vgg_like()
    if name not in ("akidanet", "mobilenet", "akidanet_edge", "yolo_akidanet"):
        return None
    alpha, height, width = float(row["alpha"]), int(row["height"]), int(row["width"])
    if name == "yolo_akidanet":
        return yolo_detector(2 if "VOC" in row["dataset"] else 1)
    classes = {"ImageNet": 1000, "VWW": 2, "CASIA Webface": 10575}.get(row["dataset"])
    if name == "akidanet_edge":
        assert classes is not None
        return akidanet_edge(alpha, height, width, classes)
    if row["dataset"] == "PlantVillage":
        return akidanet_plant_village()
    if row["dataset"] == "CASIA Webface":
        return akidanet_faces(alpha, height, width, classes)
    assert classes is not None
    return zoo.blank_model(name, alpha=alpha, input_shape=(height, width, 3), classes=classes)
