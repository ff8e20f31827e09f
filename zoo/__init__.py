"""Architectures, one file per family, and the data sets they read."""

if __name__ != "akida_jax.zoo":
    raise ImportError("zoo is a part of akida_jax: import it as akida_jax.zoo")

from akida_jax.zoo.catalogue import blank_model, build, list, published_widths

__all__ = ["blank_model", "build", "list", "published_widths"]
