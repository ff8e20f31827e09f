"""The commands of ``akida-jax``, one module per subject; `akida_jax.command_line` calls them."""
