"""Puts the probes of the operations table in place and takes them away again, leaving no trace.

One install for the whole process; guards share it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, MappingProxyType, ModuleType
from typing import Any, Final, Protocol

from .hiding import hide, pass_over_no_more
from .probe import Handle, Hook, Maker

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


class Layable(Protocol):
    """What is put in place together with the probes."""

    def lay(self) -> None:
        """Put it in place."""

    def lift(self) -> None:
        """Take it away; nothing happens where it is not in place."""


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
