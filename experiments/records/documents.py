"""Tables that scripts write into documents, between two markers."""

from collections.abc import Mapping


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
