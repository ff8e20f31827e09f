"""Tables of Markdown, and documents into which scripts write them between two markers."""

from collections.abc import Mapping, Sequence


def make_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False
) -> str:
    """Return a table as Markdown.

    Args:
      heads: of the columns.
      rows: cells of each row.
      numbers: whether all columns but the first stand at the right.
    """
    rule = ["---", *(["---:" if numbers else "---"] * (len(heads) - 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *rows))


def fill(text: str, made: Mapping[str, str]) -> str:
    """Return a document with what stands between its markers replaced.

    Args:
      text: of the document; a table stands between ``<!-- table: NAME -->`` and
        ``<!-- end -->``.
      made: tables by name; those without a marker are left out.

    Raises:
      ValueError: if a marker has no end.
    """
    for name, table in made.items():
        head, begin, rest = text.partition(f"<!-- table: {name} -->")
        if begin:
            _, end, tail = rest.partition("<!-- end -->")
            if not end:
                raise ValueError(f"the table {name!r} has no end marker")
            text = f"{head}{begin}\n{table}\n{end}{tail}"
    return text
