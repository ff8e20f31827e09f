"""Integer models as C99: integers only, no heap, a static memory plan.

`layers` turns each layer into tables of constants, `memory` plans what they work in, `learning`
does both for a layer that learns; `parts` holds all that and compares it with limits. `rendering`
and `texts` write it down in C, `folder` puts the files in place, `report` says what they take.
What runs them is written by hand: ``template/akida_*.c``.
"""

from akida_jax.export.c_code.folder import ExportError
from akida_jax.export.c_code.report import CExport, LayerRow
from akida_jax.export.c_code.writer import to_c

__all__ = ["CExport", "ExportError", "LayerRow", "to_c"]
