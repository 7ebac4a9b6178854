"""What goes wrong in a step of ours is counted as a fault and goes no further."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from .session import SESSION


def suppress_faults(where: str) -> Any:
    """Run a step of ours; what it raises is counted as a fault, but for a violation, which is for the user."""
    return _Contained(where)


class _Contained:
    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if error is None or not isinstance(error, Exception) or SESSION.is_violation(error):
            return False
        SESSION.fault(self._where, error)
        return True


def take_all(where: str, *steps: Callable[[], object]) -> None:
    """Take each step, whatever becomes of those before it: what was put in place is taken away again.

    Raises:
        BaseException: an interrupt, or what a signal handler of the user's raised; after the last step.
    """
    interrupt: BaseException | None = None
    for step in steps:
        try:
            _take(where, step)
        except BaseException as error:
            interrupt = interrupt or error
            with contextlib.suppress(BaseException):
                _take(where, step)  # cut short: once more, from its beginning
    if interrupt is not None:
        raise interrupt


def _take(where: str, step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:
        SESSION.fault(where, error)
