"""Experiments: one file per published number.

What they share lies below them: `training` trains any network and remembers its runs,
`records` writes results, pictures and tables, `presets` reads the command line.
"""

from experiments.memory import keep_freed_memory

keep_freed_memory()
