"""Names put in place for a while, and put back."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MISSING: Final = object()


class Patches:
    """Everything replaced, undone in reverse order. What somebody else has replaced meanwhile is left to them."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute of a module or class until ``undo``."""
        before = vars(owner).get(name, _MISSING)
        setattr(owner, name, value)
        now = vars(owner)[name]
        self._undo.callback(self._restore, owner, name, before, now)

    def call(self, undo: Callable[..., object], *args: Any) -> None:
        """Have ``undo(*args)`` called on the way out."""
        self._undo.callback(undo, *args)

    def undo(self) -> None:
        """Restore all, also where one restoration fails."""
        self._undo.close()

    @staticmethod
    def _restore(owner: Any, name: str, before: Any, ours: Any) -> None:
        if vars(owner).get(name, _MISSING) is not ours:
            return
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
