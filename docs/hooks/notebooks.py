"""Notebooks of the site: each becomes a page, built like any other.

They are committed without outputs, so text and code are all there is to show. The notebook itself
stays beside its page.
"""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_LINK = re.compile(r"(\]\([\w/.-]+)\.ipynb\)")


def to_markdown(path: Path) -> str:
    """Return text and code of a notebook, behind a link to it."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    title, _, rest = parts[0].partition("\n")
    source = f"*[{path.name}]({path.name})*, without outputs"
    return "\n\n".join([title, source, rest.strip(), *parts[1:]]) + "\n"


def on_files(files: Any, *, config: Any) -> Any:
    """Add a page for every notebook; MkDocs calls this."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            page = file.src_uri.removesuffix(".ipynb") + ".md"
            files.append(File.generated(config, page, content=to_markdown(Path(file.abs_src_path))))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Let links to notebooks lead to their pages; MkDocs calls this."""
    return _LINK.sub(r"\1.md)", markdown) if page.file.generated_by is None else markdown
