"""Which network of the zoo a row of a published table is about."""

from collections.abc import Mapping
from typing import Any

import akida_jax as aj
from akida_jax import zoo

CLASSES = {"ImageNet": 1000, "VWW": 2, "PlantVillage": 38, "CASIA Webface": 10575,
           "VOC person+car": 2, "WIDER FACE": 1}  # fmt: skip
"""By the data set of the published model zoo."""


def measured_models() -> dict[str, aj.Model]:
    """Return the networks of the AKD1500 measurements by their name in the tables."""
    models = {
        f"akidanet_{alpha:.1f}_{side}_imagenet": zoo.blank_model(
            "akidanet", alpha=alpha, input_shape=(side, side, 3)
        )
        for alpha in (0.5, 1.0)
        for side in (160, 224)
    }
    models["akidanet_0.5_224_plant_village"] = zoo.blank_model("akidanet_plant_village")
    models["arrhythmia_sep5x5"] = zoo.blank_model("ecg")
    return models


def zoo_model(row: dict[str, str]) -> aj.Model | None:
    """Return the network of a row of the published model zoo; None for one not built yet."""
    fixed = {"ds_cnn": "ds_cnn", "vgg_like_8_2_2": "vgg_like", "gxnor_2_2_1": "gxnor"}
    if row["model"] in fixed:
        return zoo.blank_model(fixed[row["model"]])
    names = {"akidanet": "akidanet", "mobilenet": "mobilenet", "akidanet_edge": "akidanet_edge",
             "yolo_akidanet": "yolo"}  # fmt: skip
    if row["model"] not in names:
        return None
    name = names[row["model"]]
    if row["model"] == "akidanet":
        heads = {"PlantVillage": "akidanet_plant_village", "CASIA Webface": "akidanet_faces"}
        name = heads.get(row["dataset"], name)
    return zoo.blank_model(
        name,
        alpha=float(row["alpha"]),
        input_shape=(int(row["height"]), int(row["width"]), 3),
        classes=CLASSES[row["dataset"]],
    )


def listed_model(row: Mapping[str, Any]) -> aj.Model:
    """Return the network of a row of the system paper's tables 4 to 6."""
    if row["model"] != "AkidaNet":
        return zoo.blank_model("pointnet")
    data = row["dataset"]
    name, options = "akidanet", {"classes": row.get("classes")}
    if data.startswith(("CASIA", "LFW")):
        # The classifier of verification is cut off: embeddings are compared.
        name, options = "akidanet_faces", {"classes": 10575 if "CASIA" in data else None}
    elif data == "PlantVillage":
        name = "akidanet_plant_village"
    elif "ECG" in data:
        name, options = "akidanet_ecg", {}
    return zoo.blank_model(name, alpha=row["alpha"], input_shape=(*row["resolution"], 3), **options)
