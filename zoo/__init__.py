"""Architectures, one file per family, and the data sets they read."""

if __name__ != "akida_jax.zoo":
    raise ImportError("import this package as akida_jax.zoo")
