"""A probe: what stands in a function's place, and how it is put there and taken away.

Each is a ``wrapt.FunctionWrapper`` that pickles and copies as the function it stands for: bare wrappers break spawned
DataLoaders, closures break ``torch.jit.script`` and Dynamo. What is called most is called without wrapt: methods by
``bound.py``, functions by a ``__call__`` of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from pkgutil import resolve_name
from types import FunctionType, MethodDescriptorType, ModuleType, WrapperDescriptorType
from typing import Any, Final, cast

import torch
import wrapt

from .bound import Bound

Hook = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
Maker = Callable[[Any], Any]
"""From a function, or a method of a class, to what is called in its place: with the same arguments, the instance first."""

_METHODS: Final = frozenset({FunctionType, MethodDescriptorType, WrapperDescriptorType})
"""Types of what is called with the instance first; anything else a class may hold binds in its own way."""


def _reduced(original: Any, protocol: Any) -> Any:
    """How a probe is pickled: as its original, also by those who have never heard of us."""
    if isinstance(original, FunctionType) and "<" not in original.__qualname__:
        return resolve_name, (f"{original.__module__}:{original.__qualname__}",)
    return original.__reduce_ex__(protocol)


class _BoundProbe(wrapt.BoundFunctionWrapper[Any, Any]):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return _reduced(self.__wrapped__, protocol)

    def __copy__(self) -> Any:
        return self.__wrapped__

    def __deepcopy__(self, memo: object) -> Any:
        return self.__wrapped__

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class Probe(wrapt.FunctionWrapper[Any, Any]):
    """A FunctionWrapper that pickles and copies as the function it stands for."""

    __bound_function_wrapper__ = _BoundProbe

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _reduced(self.__wrapped__, protocol)

    def __copy__(self) -> Probe:
        return self

    def __deepcopy__(self, memo: object) -> Probe:
        return self

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class _OfClass(Probe):
    """Of a class's method: asked of the class it is one and the same, so ``func is torch.Tensor.tolist`` stays true."""

    def __get__(self, instance: Any, of: Any = None) -> Any:
        # hidden from Dynamo, see hiding.py: one that looked into it would lose the probe in a graph, without a word
        if instance is None and of is self._self_laid_on:
            return self._self_of_class
        return Probe.__get__(self, instance, of)


def _probe_of(original: Any, hook: Hook, make: Maker | None, owner: Any) -> Probe:
    """A probe of ``original``. What ``make`` makes is called in its place: wrapt's own call is half the price of a read."""
    if isinstance(owner, type):
        if type(original) not in _METHODS:
            return Probe(original, hook)
        probe: Any = _OfClass(original, hook) if make is None else _quick(make, original)(original, hook)
        probe._self_laid_on, probe._self_of_class = owner, Probe.__get__(probe, None, owner)
        return cast("Probe", probe)
    return cast("Probe", _called(make, original)(original, hook)) if make is not None else Probe(original, hook)


@lru_cache(maxsize=64)  # a class takes longer to make than a probe, and a guard may be entered often
def _quick(make: Maker, original: Any) -> Any:
    call = update_wrapper(make(original), original)

    class Quick(_OfClass):
        def __get__(self, instance: Any, of: Any = None) -> Any:
            return Bound(call, instance) if instance is not None else _OfClass.__get__(self, instance, of)

    return Quick


class Called(Probe):
    """Of a function: what is called in its place is the class's own, one class a function."""


@lru_cache(maxsize=64)
def _called(make: Maker, original: Any) -> Any:
    class Quick(Called):
        __call__ = staticmethod(make(original))

    return Quick


class Handle:
    """One probe in place: what is needed to take it away again."""

    __slots__ = ("attribute", "before", "builtin", "owner", "probe")

    def __init__(self, owner: Any, attribute: str, hook: Hook, make: Maker | None = None) -> None:
        self.owner = owner
        self.attribute = attribute
        self.builtin = _builtin_name(getattr(owner, attribute)) if isinstance(owner, ModuleType) else None
        _clear(owner, attribute)
        self.before = vars(owner).get(attribute, _NOTHING)
        self.probe = wrapt.wrap_object(owner, attribute, cast("type[Probe]", _probe_of), (hook, make, owner))
        if self.builtin is not None:
            torch.jit._builtins._register_builtin(self.probe, self.builtin)

    def remove(self) -> None:
        """Restore what was there; a wrapper that somebody put on top and left there stays, and ours under it is inert."""
        if self.builtin is not None:
            (torch.jit._builtins._builtin_table or {}).pop(id(self.probe), None)
        with contextlib.suppress(Exception):  # WrapperNotOutermostError: a plain function stands on top
            wrapt.unwrap_object(self.owner, self.attribute, self.probe, missing_ok=True)
        now = vars(self.owner).get(self.attribute, _NOTHING)
        if now is self.before:
            return
        # somebody saved what he got from the class (bound, or the original itself) and put that back
        is_ours = isinstance(now, Probe | _BoundProbe) and now.__wrapped__ is self.probe.__wrapped__
        if is_ours or (isinstance(self.owner, type) and _is_shadow(self.owner, self.attribute)):
            if self.before is _NOTHING:
                delattr(self.owner, self.attribute)
            else:
                setattr(self.owner, self.attribute, self.before)


_NOTHING: Final[Any] = object()


def _clear(owner: Any, attribute: str) -> None:
    """Take away a probe of an earlier guard that somebody saved and put back: it would count everything twice."""
    found: Any = vars(owner).get(attribute)
    if not isinstance(found, Probe | _BoundProbe):
        return
    while isinstance(found, Probe | _BoundProbe):
        found = found.__wrapped__
    setattr(owner, attribute, found)
    if isinstance(owner, type) and _is_shadow(owner, attribute):
        delattr(owner, attribute)


def _builtin_name(function: Any) -> str | None:
    """TorchScript knows some functions by identity: the wrapper has to be made known, too."""
    try:
        name = torch.jit._builtins._find_builtin(function)
    except Exception:
        return None
    return str(name) if name is not None else None


def _is_shadow(owner: type, attribute: str) -> bool:
    """Non-LIFO removal can leave the inherited original as a slot of the class that had none."""
    own = vars(owner).get(attribute)
    return own is not None and any(vars(base).get(attribute) is own for base in owner.__mro__[1:])
