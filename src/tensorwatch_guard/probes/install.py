"""Puts the probes of the operations table in place and takes them away again, leaving no trace.

One install for the whole process; guards share it. Each probe is a ``wrapt.FunctionWrapper`` that pickles and copies as the
function it stands for: bare wrappers break spawned DataLoaders, closures break ``torch.jit.script`` and Dynamo. What is called
most is called without wrapt: methods by ``bound.py``, functions by a ``__call__`` of their own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, update_wrapper
from pkgutil import resolve_name
from types import (
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final, Protocol, cast

import torch
import wrapt

from .bound import Bound
from .hiding import hide, pass_over_no_more

Hook = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
Maker = Callable[[Any], Any]
"""From a function, or a method of a class, to what is called in its place: with the same arguments, the instance first."""

_METHODS: Final = frozenset({FunctionType, MethodDescriptorType, WrapperDescriptorType})
"""Types of what is called with the instance first; anything else a class may hold binds in its own way."""
_CACHES: Final = (
    ("torch.overrides", "get_ignored_functions"),
    ("torch.overrides", "get_default_nowrap_functions"),
    ("torch.overrides", "get_testing_overrides"),
    ("torch.overrides", "_get_overridable_functions"),
    ("torch.overrides", "_get_tensor_methods"),
    ("torch.utils._device", "_device_constructors"),
    ("torch._dynamo.trace_rules", "get_tensor_method"),
    ("torch._dynamo.variables.torch", "tracing_state_functions"),
    ("torch._dynamo.variables.torch", "get_overridable_functions"),
)
"""Cached tables of PyTorch's own functions: filled while probes are in place, they would keep the probes for ever."""


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


@lru_cache(maxsize=64)
def _called(make: Maker, original: Any) -> Any:
    class Called(Probe):
        __call__ = staticmethod(make(original))

    return Called


class Layable(Protocol):
    """What is put in place together with the probes."""

    def lay(self) -> None:
        """Put it in place."""

    def lift(self) -> None:
        """Take it away; nothing happens where it is not in place."""


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


def resolve(target: str) -> tuple[Any, str] | None:
    """``module:path.attribute`` to (owner, attribute); None where this torch lacks it. Imports nothing of Dynamo."""
    module_name, _, path = target.partition(":")
    try:
        owner: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
        *parts, attribute = path.split(".")
        for part in parts:
            owner = getattr(owner, part)
        getattr(owner, attribute)
    except (ImportError, AttributeError):
        return None
    return owner, attribute


class Installation:
    """All probes of the process. ``lay`` and ``lift`` may be called in turn; both undo half-done work on an exception."""

    def __init__(
        self,
        hooks: Iterable[tuple[str, Hook]],
        codes: Iterable[CodeType],
        open_to_dynamo: Iterable[CodeType] = (),
        others: Iterable[Layable] = (),
        of_devices: Iterable[tuple[str, Hook]] = (),
        of_sources: Iterable[tuple[str, Hook]] = (),
        makers: Mapping[Hook, Maker] = MappingProxyType({}),
    ) -> None:
        self._hooks = _resolved(hooks)
        self._of_devices = _resolved(of_devices)
        self._of_sources = _resolved(of_sources)
        self._makers = makers
        self._devices = self._sources = False
        self._codes = codes
        self._open = frozenset(open_to_dynamo)
        self._handles: list[Handle] = []
        self._device_handles: list[Handle] = []
        self._source_handles: list[Handle] = []
        self._others = tuple(others)
        self._filled: list[Any] = []
        self._lock = threading.RLock()
        self._wanted = self._waits = False
        """Whether probes are to be in place, and whether they are not while ``torch._dynamo`` is being imported."""
        self._finder = _DynamoFinder(self)

    @property
    def in_place(self) -> bool:
        """Whether the probes are on now."""
        return bool(self._handles)

    @property
    def names(self) -> list[str]:
        """What is patched right now, for ``doctor``."""
        handles = (*self._handles, *self._device_handles, *self._source_handles)
        return [_shown(handle.owner, handle.attribute) for handle in handles]

    def start(self) -> None:
        """Put the probes in place and be ready for Dynamo."""
        self._filled = [cache for cache in _caches() if cache.cache_info().currsize]
        with self._lock:
            if not self._waits:
                self.lay()
            self._wanted = True
        if "torch._dynamo" not in sys.modules:
            sys.meta_path.insert(0, self._finder)

    def stop(self) -> None:
        """Take everything away."""
        self._sources = False
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        try:
            with self._lock:
                self._wanted = False
                self.lift()
        finally:
            pass_over_no_more()
            for cache in _caches():
                if cache not in self._filled:
                    cache.cache_clear()

    def lay(self) -> None:
        """Wrap every target."""
        try:
            for (owner, attribute), hook in self._hooks:
                self._handles.append(Handle(owner, attribute, hook, self._makers.get(hook)))
            self._lay_of_devices()
            for other in self._others:
                other.lay()
        except BaseException:
            self.lift()
            raise
        hide(self._codes, self._open)

    def lift(self) -> None:
        """Unwrap every target, last first."""
        for other in reversed(self._others):
            other.lift()
        for handles in (self._source_handles, self._device_handles, self._handles):
            while handles:
                handles.pop().remove()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nothing is in place inside; afterwards it is again if it is to be by then, for guards come and go meanwhile."""
        with self._lock:
            self.lift()
            self._waits = True
        try:
            yield
        finally:
            with self._lock:
                self._waits = False
                if self._wanted:
                    self.lay()

    def after_fork(self) -> None:
        """In a forked child: the thread that held the lock is not there."""
        self._lock = threading.RLock()

    def watch_devices(self, there: bool) -> None:
        """Where no device is, nothing can move: its probes, on calls that every program makes often, are in place only then."""
        self._devices = there
        self._sources = self._sources and there
        if self.in_place and there:
            self._lay_of_devices()
        for handles in (self._source_handles, self._device_handles):
            while handles and not there:
                handles.pop().remove()

    def watch_sources(self) -> None:
        """A copy from host memory is under way, for the first time: from now on calls that write in place are watched, too."""
        if not self._sources and self._devices:
            self._sources = True
            self._lay_of_devices()

    def _lay_of_devices(self) -> None:
        pairs = (
            (self._devices, self._device_handles, self._of_devices),
            (self._sources, self._source_handles, self._of_sources),
        )
        for there, handles, hooks in pairs:
            if there and not handles:
                for (owner, attribute), hook in hooks:  # one by one: what is in place is known when the next one fails
                    handles.append(Handle(owner, attribute, hook))


def _resolved(hooks: Iterable[tuple[str, Hook]]) -> list[tuple[tuple[Any, str], Hook]]:
    return [(found, hook) for target, hook in hooks if (found := resolve(target)) is not None]


def _shown(owner: Any, attribute: str) -> str:
    name = getattr(owner, "__qualname__", owner.__name__)
    return f"{getattr(owner, '__module__', '')}.{name}.{attribute}".lstrip(".")


def _caches() -> list[Any]:
    found = []
    for module, name in _CACHES:
        cache = getattr(sys.modules.get(module), name, None)
        if cache is not None and hasattr(cache, "cache_info"):
            found.append(cache)
    return found


class _DynamoFinder(importlib.abc.MetaPathFinder):
    """Lifts the probes while ``torch._dynamo`` is first imported: its rule tables keep the functions they saw."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Dynamo's own spec with a loader that works on an unpatched torch; None for everything else."""
        if name != "torch._dynamo" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            loader = spec.loader
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                del loader.exec_module
                with self._installation.away():
                    run(module)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
