"""Formulas of the site: LaTeX becomes MathML while it is built.

Browsers show MathML by themselves, so a page needs no script and no network.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)


def to_mathml(latex: str, *, display: bool) -> str:
    r"""Return a formula as a MathML element.

    Args:
      latex: without dollar signs.
      display: whether it stands on lines of its own.

    Raises:
      ValueError: for what cannot be converted; a command that is not known would be shown as it is.
    """
    try:
        made = convert(latex, display="block" if display else "inline")
    except Exception as problem:  # the package has no common class of errors
        raise ValueError(f"formula {latex!r}: {type(problem).__name__} {problem}") from problem
    unknown = re.findall(r"\\\w+", html.unescape(made))
    if unknown:
        raise ValueError(f"formula {latex!r}: no MathML for {', '.join(unknown)}")
    return made


def on_page_content(content: str, *, page: Any, **_: Any) -> str:
    """Replace the formulas of a page; MkDocs calls this.

    Raises:
      PluginError: naming page and formula.
    """

    def replace(found: re.Match) -> str:
        return to_mathml(html.unescape(found[2]), display=found[1] == "div")

    try:
        return _FORMULA.sub(replace, content)
    except ValueError as problem:
        raise PluginError(f"{page.file.src_uri}: {problem}") from problem
