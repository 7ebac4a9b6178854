"""What the code around a write says of its writer, where autograd's counter is silent.

A torch write through ``.data`` bumps no counter the guard can read, so where a function on either end of the interval uses
the attribute, a silent write may be torch's: the writer is unknown.
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import Final

from ..sites import Trail

_SILENT: Final = frozenset({"data"})
_ATTRIBUTE: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"})


@lru_cache(maxsize=4096)
def uses_data(code: CodeType) -> bool:
    """Whether a function reads or assigns an attribute called ``data``."""
    if not _SILENT & set(code.co_names):
        return False
    return any(i.opname in _ATTRIBUTE and i.argval in _SILENT for i in dis.get_instructions(code))


def hides_writes(before: Trail, after: Trail) -> bool:
    """Whether a torch write in this interval may have left no trace in a version counter."""
    return any(trail.code is not None and uses_data(trail.code) for trail in (before, after))
