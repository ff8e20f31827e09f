"""Devices, hardware checks, placement on neural processors, and cost."""

if __name__ != "akida_jax.mapping":
    raise ImportError("mapping is a part of akida_jax: import it as akida_jax.mapping")
