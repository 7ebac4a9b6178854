"""What the code around a write says of its writer, where autograd's counter is silent.

A torch write through a storage bumps no counter, and one through a ``.data`` that nobody saw being taken bumps none that can
be read. So where a function on either end of the interval makes use of such, a silent write may be torch's: the writer is
unknown. Arrays, sparse matrices and users' own classes have a ``data``, too: the name alone says nothing while the guard
sees each tensor's being taken.
"""

from __future__ import annotations

import dis
import sys
from functools import lru_cache
from types import CodeType, FrameType
from typing import Final

from ..sites import FILES, USER, Trail

DATA: Final = "data"
_STORAGES: Final = frozenset({"storage", "typed_storage", "untyped_storage"})
_ATTRIBUTE: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"})
_CALLS: Final = ("PRECALL", "CALL")


@lru_cache(maxsize=4096)
def _silent_places(code: CodeType) -> tuple[bool, int]:
    """Whether a function asks a tensor for its storage, and at which instruction it first takes a ``data`` (-1: nowhere)."""
    if not (_STORAGES | {DATA}) & set(code.co_names):
        return False, -1
    storages, first = False, -1
    steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step.opname not in _ATTRIBUTE:
            continue
        if step.argval == DATA and first < 0:
            first = step.offset
        called = following is not None and following.opname.startswith(_CALLS) and not following.arg
        storages = storages or (step.argval in _STORAGES and called)
    return storages, first


class Blindness:
    """What of the writes through ``.data`` the guard cannot know of."""

    def __init__(self) -> None:
        self.overlooked = False
        """Some ``.data`` was taken that could not be kept in mind."""
        self._running: dict[int, tuple[CodeType, int]] = {}
        for innermost in list(sys._current_frames().values()):
            frame: FrameType | None = innermost
            while frame is not None:
                code = frame.f_code
                if FILES[code.co_filename] == USER:
                    self._running[id(code)] = code, frame.f_lasti
                frame = frame.f_back

    def hides_writes(self, before: Trail, after: Trail) -> bool:
        """Whether a torch write in this interval may have left no trace in a version counter."""
        return any(trail.code is not None and self._hides(trail.code) for trail in (before, after))

    def _hides(self, code: CodeType) -> bool:
        storages, first = _silent_places(code)
        if storages or first < 0:
            return storages
        _, reached = self._running.get(id(code), (None, -1))  # what ran before the guard was entered has taken it unseen
        return self.overlooked or first < reached
