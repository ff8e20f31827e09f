"""Sweeps of settings: their axes, the study that workers share, outputs and report."""
