"""What the code around a write says of its writer, where autograd's counter is silent.

A torch write through a storage bumps no counter, and one through a ``.data`` that was taken before the guard bumps none that
it can read. So where a function on either end of the interval uses such an attribute, a silent write may be torch's: the
writer is unknown.
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import Final

from ..sites import Trail

_SILENT: Final = frozenset({"data", "storage", "typed_storage", "untyped_storage"})
_ATTRIBUTE: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"})


@lru_cache(maxsize=4096)
def writes_silently(code: CodeType) -> bool:
    """Whether a function uses an attribute through which torch writes without a trace."""
    if not _SILENT & set(code.co_names):
        return False
    return any(i.opname in _ATTRIBUTE and i.argval in _SILENT for i in dis.get_instructions(code))


def hides_writes(before: Trail, after: Trail) -> bool:
    """Whether a torch write in this interval may have left no trace in a version counter."""
    return any(trail.code is not None and writes_silently(trail.code) for trail in (before, after))
