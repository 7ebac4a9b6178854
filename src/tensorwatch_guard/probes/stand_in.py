"""Calls the watched function from a frame that looks like the user's line.

A warning is told at the innermost Python frame, and ``stacklevel`` counts frames: called from a probe, PyTorch's warnings
would name this package, and Python's once-per-place registry would swallow those of other lines. So the call is made from
a small function with the file, line, name and globals of the user's frame. Functions in Python warn from frames of their own:
these are called directly.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

from ..sites import STAND_IN, is_stand_in
from .hiding import hide_alone
from .unseen import unseen

MOST: Final = 4096


def _template(wrapped: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


def _direct(wrapped: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


_PLAIN: Final[CodeType] = _template.__code__
_CONSTS: Final = (STAND_IN, *_PLAIN.co_consts[1:])
_CODE: Final[CodeType] = _PLAIN.replace(co_consts=_CONSTS)
_direct.__code__ = _direct.__code__.replace(co_consts=_CONSTS)
unseen(_direct)
_stand_ins: Final[dict[tuple[int, int], tuple[FunctionType, CodeType]]] = {}


def stand_in(frame: FrameType) -> Any:
    """A function ``f(wrapped, args, kwargs)`` that calls ``wrapped`` as if from where ``frame`` stands now."""
    code = frame.f_code
    key = (id(code), frame.f_lasti)
    known = _stand_ins.get(key)
    if known is not None and known[0].__globals__ is frame.f_globals:
        return known[0]
    try:
        made = _made_for(frame, code)
    except Exception:  # a warning may name a line of ours then; the call is the user's
        return _direct
    if len(_stand_ins) >= MOST:
        _stand_ins.clear()
    _stand_ins[key] = (made, code)  # the code is kept: its id is the key
    return made


def _made_for(frame: FrameType, code: CodeType) -> FunctionType:
    line = frame.f_lineno or code.co_firstlineno
    looks: dict[str, Any] = {"co_filename": code.co_filename, "co_name": code.co_name, "co_firstlineno": line}
    looks["co_linetable"] = _one_line(len(_CODE.co_code))
    if hasattr(code, "co_qualname"):
        looks["co_qualname"] = code.co_qualname
    made = FunctionType(_CODE.replace(**looks), frame.f_globals)
    hide_alone(made.__code__)
    return made


def caller(frame: FrameType, wrapped: Any) -> Any:
    """The same for what may be a function in Python, or a method that is one."""
    return _direct if type(getattr(wrapped, "__func__", wrapped)) is FunctionType else stand_in(frame)


def _one_line(length: int) -> bytes:
    """A line table that puts all instructions on the first line: code 13 (no columns) and line delta 0, from 3.11 on."""
    if sys.version_info < (3, 11):
        return bytes((length, 0))
    table = bytearray()
    units = length // 2
    while units > 0:
        part = min(units, 8)
        table += bytes((0x80 | (13 << 3) | (part - 1), 0))
        units -= part
    return bytes(table)


def strip(error: BaseException) -> None:
    """Take the stand-ins' entries out of a traceback that is on its way to the user."""
    step = error.__traceback__
    while step is not None:
        while step.tb_next is not None and is_stand_in(step.tb_next.tb_frame.f_code):
            step.tb_next = step.tb_next.tb_next
        step = step.tb_next


def forget() -> None:
    """Drop all stand-ins: the session is over."""
    _stand_ins.clear()
