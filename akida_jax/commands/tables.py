"""How commands print tables."""

from rich.console import Console
from rich.table import Table

from akida_jax.summary import Summary


def show(table: Summary | Table) -> None:
    """Print a rich table in a terminal, plain text into a pipe."""
    console = Console()
    if isinstance(table, Summary) and not console.is_terminal:
        print(table)
    else:
        # A pipe has no width of its own; lines must not be cut there.
        (console if console.is_terminal else Console(width=200)).print(table)
