"""Where data sets of files lie, and what to say if they do not."""

import dataclasses
import os
import pathlib

VARIABLE = "AKIDA_JAX_DATA"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a data set of files is looked for.

    Attributes:
      name: of the data set.
      usual: its folder in ``$AKIDA_JAX_DATA``.
      needed: file or folder that must lie in it.
      source: what the data are, their terms, and where they come from.
      system: folder of an operating system's package, looked into last.
    """

    name: str
    usual: str
    needed: str
    source: str
    system: str | None = None


def find_folder(
    place: Place, data_dir: str | os.PathLike[str] | None = None, needed: str | None = None
) -> pathlib.Path:
    """Return the folder of a data set of files.

    Args:
      place: of the data set.
      data_dir: the folder, instead of the usual ones.
      needed: file or folder that must lie in it, instead of that of the place.

    Raises:
      FileNotFoundError: if it is not there, saying what the data are.
    """
    needed = needed or place.needed
    root = os.environ.get(VARIABLE)
    if data_dir is not None:
        candidates = [pathlib.Path(data_dir)]
    else:
        candidates = [pathlib.Path(root or f"${VARIABLE}", place.usual)]
        candidates += [pathlib.Path(place.system)] if place.system else []
    for folder in candidates:
        if (folder / needed).exists():
            return folder
    state = f"now {root}" if root else "not set now"
    looked = " and no ".join(str(folder / needed) for folder in candidates)
    raise FileNotFoundError(
        f"data set '{place.name}': no {looked}; pass its folder as data_dir, or set "
        f"{VARIABLE} ({state}) to the folder that holds {place.usual}. The data: {place.source}"
    )
