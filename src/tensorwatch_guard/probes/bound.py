"""What ``x.item`` is while ``item`` is watched: called, it is the probe's short way; asked anything else, the original.

wrapt's own binding is half the price of a read, for it parses its arguments anew each time. A ``functools.partial`` is made
and called in C; a method object would be cheaper still, but shows whom it belongs to in its ``repr``.
"""

from __future__ import annotations

from functools import partial
from typing import Any


class Bound(partial[Any]):
    """Of a function with the original in ``__wrapped__``, and the instance."""

    __slots__ = ()
    __module__: Any = None
    """As of methods made in C; Dynamo, too, asks classes for it, and a property is no answer."""

    @property
    def _original(self) -> Any:
        instance = self.args[0]
        return self.func.__wrapped__.__get__(instance, type(instance))  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __repr__(self) -> str:
        return repr(self._original)

    def __eq__(self, other: object) -> bool:
        mine: bool = self._original == (other._original if isinstance(other, Bound) else other)
        return mine

    def __hash__(self) -> int:
        return hash(self._original)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._original.__reduce_ex__(protocol)

    def __copy__(self) -> Any:
        return self._original

    def __deepcopy__(self, memo: object) -> Any:
        return self._original

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._original)

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self._original.__doc__
