"""Reaching threads that run already, on CPython 3.11: the one file that touches interpreter structures.

``threading.settrace`` reaches threads to come only. CPython's own ``_PyEval_SetTrace(state, C function, object)`` is
exported and takes any thread's state. Where in that state the tracer and the thread's ident stand is found in the
caller's own state, by value; nothing is assumed, and if it is not found nothing is done.

A thread state can be freed whenever the interpreter lock changes hands, and that happens only between two bytecodes.
Hence every walk over the states is one chain of C calls (see ``at_once``): no bytecode runs until it is through. An
audit hook written in Python would be called inside the chain, by ``_PyEval_SetTrace``; nothing is known of such.
"""

from __future__ import annotations

import ctypes
import sys
from itertools import accumulate, chain, filterfalse, repeat, takewhile
from operator import truth
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .at_once import at_once

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS: Final = 40
_BYTES: Final = 8


class _Layout(NamedTuple):
    """Word numbers inside a thread state, and the C function through which Python trace functions are called."""

    tracer: int
    ident: int
    trampoline: int


class _Functions(NamedTuple):
    """CPython's functions, as objects of our own: argument types set on ``ctypes.pythonapi``'s would be everybody's."""

    own_state: Any
    interpreter: Any
    first_state: Any
    next_state: Any
    read: Any
    set_trace: Any


_layout: _Layout | None = None
_functions: _Functions | None = None


def learn(tracer: object) -> bool:
    """Find the layout of thread states, given the trace function that ``sys.settrace`` has just set in this thread.

    Returns:
        False where running threads cannot be reached: another Python, another system, or a layout not understood.
    """
    global _layout, _functions
    if _layout is not None:
        return True
    fits = (
        sys.version_info[:2] == (3, 11)
        and sys.platform == "linux"
        and ctypes.sizeof(ctypes.c_void_p) == _BYTES
    )
    if not fits or sys.gettrace() is not tracer:
        return False
    try:
        _functions = _load()
        words = _words(_functions.read(_functions.own_state(), _WORDS * _BYTES))
    except Exception:  # a Python built without these symbols
        return False
    tracers = [number for number, word in enumerate(words) if word == id(tracer)]
    idents = [number for number, word in enumerate(words) if word == get_ident()]
    if len(tracers) == len(idents) == 1 and words[tracers[0] - 2]:
        _layout = _Layout(tracers[0], idents[0], words[tracers[0] - 2])
    return _layout is not None


def _load() -> _Functions:
    api, address = ctypes.pythonapi, ctypes.c_void_p
    getter, walker = ctypes.PYFUNCTYPE(address), ctypes.PYFUNCTYPE(address, address)
    return _Functions(
        getter(("PyThreadState_Get", api)),
        getter(("PyInterpreterState_Get", api)),
        walker(("PyInterpreterState_ThreadHead", api)),
        walker(("PyThreadState_Next", api)),
        ctypes.PYFUNCTYPE(ctypes.py_object, address, ctypes.c_ssize_t)(("PyBytes_FromStringAndSize", api)),
        ctypes.PYFUNCTYPE(ctypes.c_int, address, address, address)(("_PyEval_SetTrace", api)),
    )


def _words(state: bytes) -> memoryview:
    return memoryview(state).cast("Q")


def _states(functions: _Functions) -> Iterable[int]:
    """Addresses of all thread states, walked while they are asked for. The zeros only keep ``accumulate`` going."""
    first = map(functions.first_state, [functions.interpreter()])
    return takewhile(truth, accumulate(chain(first, repeat(0)), functions.next_state))


def tracers() -> dict[int, int]:
    """The address of every thread's trace object, 0 where there is none, by thread ident. Empty before ``learn``."""
    if _layout is None or _functions is None:
        return {}
    copies = at_once(map(_functions.read, _states(_functions), repeat(_WORDS * _BYTES)))
    return {words[_layout.ident]: words[_layout.tracer] for words in map(_words, copies)}


def set_others(tracer: object) -> None:
    """Set a trace function in every thread but this one. It must live for ever: threads let go when they please."""
    if _layout is None or _functions is None:
        return
    others = filterfalse(_functions.own_state().__eq__, _states(_functions))
    at_once(map(_functions.set_trace, others, repeat(_layout.trampoline), repeat(id(tracer))))
