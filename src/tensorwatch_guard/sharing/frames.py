"""What the running functions' local variables hold, without ``f_locals`` where reading that is felt.

Before Python 3.13 ``frame.f_locals`` copies the variables into a dictionary that lives as long as the frame: a deleted
tensor would keep its memory, and a dictionary that the program once got from ``locals()`` would change under its hands
(both seen on 3.11). So on 3.11 and 3.12 the variables of this thread's own suspended frames are read where they lie,
at a place found by looking for known objects in a frame of our own; other threads' frames are left out.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import inspect
import sys
from types import CellType
from typing import TYPE_CHECKING, Any, Final

from .at_once import other_frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_WORD: Final = ctypes.sizeof(ctypes.c_void_p)
_INNER_FRAME: Final = 3
"""Word of a frame object that points to the interpreter's frame: after count, type and ``f_back``."""
_SEARCHED: Final = 16


def objects_in_frames(frame: FrameType | None) -> Iterator[Any]:
    """Objects in local variables of ``frame`` and its callers, and where that is harmless of all other threads.

    Args:
        frame: The innermost frame of this thread to look into.
    """
    while frame is not None:
        yield from _locals_of(frame)
        frame = frame.f_back
    if sys.version_info < (3, 11) or sys.version_info >= (3, 13):
        for other in other_frames().values():
            caller: FrameType | None = other
            while caller is not None:
                yield from _locals_of(caller)
                caller = caller.f_back


def _locals_of(frame: FrameType) -> list[Any]:
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return gc.get_referents(frame.f_locals)  # a module's or a class body's own dictionary: nothing is copied
    if sys.version_info < (3, 11):
        return [one for value in gc.get_referents(frame) for one in _opened(value)]
    if sys.version_info >= (3, 13):
        return list(frame.f_locals.values())
    return _read(frame)


def _read(frame: FrameType) -> list[Any]:
    offset = _slots()
    inner = _words(id(frame), _INNER_FRAME + 1)[_INNER_FRAME]
    code = frame.f_code
    if not offset or id(code) not in _words(inner, offset // _WORD):
        return []
    names = {*code.co_varnames, *code.co_cellvars}
    found: list[Any] = []
    for slot in range(len(names) + len(code.co_freevars)):
        try:
            value = ctypes.py_object.from_address(inner + offset + slot * _WORD).value
        except ValueError:  # not bound yet, or deleted
            continue
        found += _opened(value)
    return found


def _opened(value: Any) -> list[Any]:
    return gc.get_referents(value) if type(value) is CellType else [value]


@functools.cache
def _slots() -> int:
    """Offset of the local variables in the interpreter's frame, 0 if it cannot be told."""
    if sys.implementation.name != "cpython" or hasattr(sys, "gettotalrefcount"):
        return 0
    first, second, frame = object(), object(), sys._getframe()
    words = _words(_words(id(frame), _INNER_FRAME + 1)[_INNER_FRAME], _SEARCHED)
    known = (id(first), id(second), id(frame))  # no comprehension may use the three: they would lie in cells
    places = [at for at in range(_SEARCHED - 2) if words[at : at + 3] == known]
    return places[0] * _WORD if len(places) == 1 and id(frame.f_code) in words[: places[0]] else 0


def _words(address: int, count: int) -> tuple[int, ...]:
    return tuple((ctypes.c_size_t * count).from_address(address))
