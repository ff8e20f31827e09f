"""Training of any network: recipes, epochs on one or several devices, checkpoints, runs."""
