"""Conversions that PyTorch refuses, and those that are only tried: NumPy asks for an index first, and for an array then.

``array[tensor]`` calls ``Tensor.__index__``, whose refusal NumPy swallows, and goes on with ``Tensor.__array__``. So that one
waits until it is known what became of it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterable
from dataclasses import dataclass
from threading import get_ident
from types import FrameType
from typing import Any, Final

from ..operations import Operation
from ..session import SESSION
from ..sites import FILES, OWN, TORCH, Trail

_PYTHONS: Final = "cannot convert float"
"""``int`` of a NaN: the tensor gave its value."""
_TRIED: Final = "Tensor.__index__"
_THEN: Final = "Tensor.__array__"


@dataclass(slots=True)
class _Refusal:
    """One that may have been tried only."""

    row: Operation
    at: Trail
    details: dict[str, Any]
    context: contextvars.Context

    def tell(self) -> None:
        """Nothing else became of it."""
        self.context.run(_emit, self.row, self.at, self.details)


_waiting: Final[dict[int, _Refusal]] = {}
"""By thread."""


def refused(row: Operation, at: Trail | FrameType, error: Exception, kwargs: dict[str, Any]) -> None:
    """A conversion that PyTorch itself refused, called from there; errors out of the user's own code are none."""
    try:
        if not isinstance(error, RuntimeError | TypeError | ValueError | BufferError):
            return
        if "copy" in kwargs and row.name == _THEN and isinstance(error, TypeError):
            return  # NumPy asks with copy= first and again without
        if _PYTHONS in str(error):
            return
        step = error.__traceback__
        while step is not None:
            if FILES[step.tb_frame.f_code.co_filename] not in (TORCH, OWN):
                return
            step = step.tb_next
        message = str(error).split("\n")[0]
        trail = at if isinstance(at, Trail) else SESSION.trail(at)
        details = {"exception": type(error).__name__, "message": message}
        became(row, trail)
        if row.name == _TRIED:
            tell_waiting((get_ident(),))
            _waiting[get_ident()] = _Refusal(row, trail, details, contextvars.copy_context())
        else:
            _emit(row, trail, details)
    except Exception as fault:
        SESSION.fault(row.name, fault)


def became(row: Operation, at: Trail) -> None:
    """A call was made in this thread: what waits here was tried only, if this is what the same expression went on with."""
    waiting = _waiting.get(get_ident()) if row.name == _THEN else None
    if waiting is not None and waiting.at.key == at.key:
        del _waiting[get_ident()]


def tell_waiting(threads: Iterable[int] | None = None) -> None:
    """Nothing more can become of those that wait: of these threads, or of all. What waits in others may be tried yet."""
    for ident in list(_waiting) if threads is None else threads:
        waiting = _waiting.pop(ident, None)
        if waiting is not None:
            waiting.tell()


def _emit(row: Operation, at: Trail, details: dict[str, Any]) -> None:
    SESSION.emit("refusal", row.name, at, implicit=row.implicit, details=details)
