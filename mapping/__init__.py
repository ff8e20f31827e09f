"""Devices, hardware checks, placement on neural processors, and cost."""

if __name__ != "akida_jax.mapping":
    raise ImportError("import this package as akida_jax.mapping")
