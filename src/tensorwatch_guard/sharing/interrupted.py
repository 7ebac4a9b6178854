"""Exceptions that a signal handler of the user's raised amid a call-back of ours.

Python runs handlers between any two lines of the main thread, also of a weak reference's call-back, and only prints what comes
out of that: a timeout or a Ctrl-C would be lost. So it is raised again as soon as the call-back is over.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from functools import partial
from typing import Any, Final

from ..sites import FILES, OWN, from_signal_handler

# An own function object: argument types set on ctypes.pythonapi's would be seen by everybody in the process.
_raise_in: Final = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


class _Late:
    """Its end is the end of the call-back that returns it: a variable would live on in the handler's traceback."""

    __slots__ = ("__weakref__",)


_newest: Final[list[weakref.ref[_Late]]] = []


def pass_on(error: BaseException) -> _Late | None:
    """Have this thread raise what a handler raised, once what this returns is gone, which is for the call-back to return.

    In C from there on, for an exception raised amid lines of ours would be printed, too. What else went wrong here is
    nobody's business.
    """
    if not isinstance(error, KeyboardInterrupt) and not from_signal_handler(error):
        return None
    step = error.__traceback__
    while step is not None and FILES[step.tb_frame.f_code.co_filename] == OWN:
        step = step.tb_next
    error.__traceback__ = step  # a frame of ours would keep what is to go
    late = _Late()
    raising = map(_raise_in, (threading.get_ident(),), (_that_very(error),))
    _newest[:] = [weakref.ref(late, partial(next, raising))]
    return late


def _that_very(error: BaseException) -> Any:
    """A class whose instance is ``error``: only classes can be raised from outside, which would lose what it says."""
    return type(type(error).__name__, (type(error),), {"__new__": lambda *_: error, "__init__": lambda *_: None})
