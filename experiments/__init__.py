"""Experiments: one file per published number."""
