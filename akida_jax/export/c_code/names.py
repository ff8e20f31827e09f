"""Names that C allows, and that nothing else in a program has."""

import re

_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while alignas alignof asm bool class catch constexpr delete explicit export false friend
mutable namespace new nullptr operator private protected public template this throw true try
typename using virtual wchar_t
"""
_TAKEN = """
main akida akida_config akida_learning akida_runtime assert complex ctype errno features fenv
inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef stdint
stdio stdlib stdnoreturn string tgmath threads time uchar unistd wchar wctype
all all_build clean depend edit_cache help install package preinstall rebuild_cache run_tests test
zero_check
"""
"""Files of an export, headers of the standard library that its own would hide, and targets that
CMake keeps for itself."""
_LONGEST = 63


def check_name(name: object) -> None:
    """Refuse a name that cannot stand before everything that an export defines.

    Raises:
      ValueError: if it is no identifier, a keyword of C or C++, or taken.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name {name!r} is no C identifier; use letters, digits and _, a letter first"
        )
    if len(name) > _LONGEST:
        raise ValueError(f"name {name!r} has {len(name)} characters; use at most {_LONGEST}")
    if name in _KEYWORDS.split():
        raise ValueError(f"name {name!r} is a keyword of C or C++; choose another")
    if name.lower() in _TAKEN.split():
        raise ValueError(
            f"name {name!r} is that of a header, a file of the export or a target of CMake; "
            "choose another"
        )
