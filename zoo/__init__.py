"""Architectures, one file per family, and the data sets they read."""

if __name__ != "akida_jax.zoo":
    raise ImportError("zoo is a part of akida_jax: import it as akida_jax.zoo")

from akida_jax.zoo.catalogue import blank_model, build, list, published_widths
from akida_jax.zoo.pretrained_models import ModelCard, model_card, pretrained, pretrained_names

__all__ = [
    "ModelCard",
    "blank_model",
    "build",
    "list",
    "model_card",
    "pretrained",
    "pretrained_names",
    "published_widths",
]
