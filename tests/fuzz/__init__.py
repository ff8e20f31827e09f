"""Changed files by the hundred thousand: each is refused by name, or read for what it says.

``python -m tests.fuzz --count 100000 --seed 0`` writes what came of it into results.json.
"""
