"""``allow``: let something pass here, and say why.

Allowances are context-local: each thread and each asyncio task has its own. A *grant* is an allowance in force together
with those around it; there is one object a place, however often the place is passed, so that memory does not grow.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from ..levels import ConfigError, hint
from ..words import DIRECTIONS, KINDS

if TYPE_CHECKING:
    from types import CodeType, TracebackType

    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., Any])

ALLOWABLE: Final[tuple[str, ...]] = (*KINDS, *DIRECTIONS)
SEVERAL: Final = "several reasons"
_MOST_REASONS: Final = 64

ENTRIES: Final = itertools.count(1)
"""Counts allowances entered, so that a guard knows which were entered while it was open."""


class _Names(dict[tuple[str, object], frozenset[object]]):
    """The words that let a kind (and the direction of a transfer) pass. On the CPU, a wait is a read."""

    def __missing__(self, key: tuple[str, object]) -> frozenset[object]:
        names = self[key] = frozenset({*key, "sync"} if key[0] == "read" else key) - {None}
        return names


NAMES: Final = _Names()


class Base:
    """One allowance as it stands in the source: kinds, reason and place."""

    __slots__ = ("code", "entered", "first_only", "grants", "kinds", "lasti", "reason")

    def __init__(self, kinds: frozenset[str], reason: str, first_only: bool, code: CodeType, lasti: int) -> None:
        self.kinds = kinds
        self.reason = reason
        self.first_only = first_only
        self.code = code
        self.lasti = lasti
        self.entered = 0
        self.grants: dict[int, Grant] = {}


class Grant:
    """An allowance in force, and those around it."""

    __slots__ = ("base", "outer")

    def __init__(self, base: Base, outer: Grant | None) -> None:
        self.base = base
        self.outer = outer

    def covering(self, kind: str, direction: object = None) -> Base | None:
        """The innermost allowance that holds for a kind, or for the direction of a transfer."""
        names = NAMES[kind, direction]
        grant: Grant | None = self
        while grant is not None:
            if not names.isdisjoint(grant.base.kinds):
                return grant.base
            grant = grant.outer
        return None

    def __str__(self) -> str:
        return self.base.reason


CURRENT: Final[ContextVar[Grant | None]] = ContextVar("tensorwatch_guard_allow", default=None)

_bases: dict[tuple[int, int], dict[tuple[object, ...], Base]] = {}
_listeners: list[Callable[[ContextVar[Grant | None]], None]] = []
_used = False


def on_first_use(listener: Callable[[ContextVar[Grant | None]], None]) -> None:
    """``listener`` gets the context variable at the first allowance: until then allowances cost nothing."""
    if _used:
        listener(CURRENT)
    else:
        _listeners.append(listener)


def bases() -> Iterator[Base]:
    """All allowances that were ever entered in this process."""
    for known in list(_bases.values()):
        yield from list(known.values())


def kinds_of(words: Iterable[object], label: str) -> frozenset[str]:
    """The kinds and directions that ``words`` name.

    Raises:
        ConfigError: for a word that is neither.
    """
    found = frozenset(words)
    for word in found:
        if word not in ALLOWABLE:
            raise ConfigError(
                f"{label}: there is no kind {word!r}; kinds: {', '.join(ALLOWABLE)}{hint(word, ALLOWABLE)}"
            )
    return cast("frozenset[str]", found)


class allow:  # noqa: N801  # reads as a word in ``with allow("sync"):``
    """Let something pass: it is still counted, and shown with its reason, but it breaks no level and no limit.

    Use it as ``with allow("sync", reason="..."):`` or as a decorator on a function, a coroutine function or a generator
    function. It holds in this thread or task only; a thread started inside does not inherit it.

    Args:
        *kinds: such as ``"sync"`` or ``"transfer"``, or directions of transfers: ``"h2d"``, ``"d2h"``, ``"d2d"``.
        reason: why; the report shows it.
        first_only: only the first happening at each place is let pass.

    Raises:
        ConfigError: (a ValueError) for no kind, or an unknown one.
    """

    __slots__ = ("_base",)
    _base: Base

    def __init__(self, *kinds: str, reason: str = "", first_only: bool = False) -> None:
        if _is_traced():
            return
        if not kinds or callable(kinds[0]):
            raise ConfigError(f'allow: say what, as in allow("sync", reason="..."); kinds: {", ".join(ALLOWABLE)}')
        frame = sys._getframe(1)
        code, lasti = frame.f_code, frame.f_lasti
        known = _bases.setdefault((id(code), lasti), {})
        reason = str(reason) if len(known) < _MOST_REASONS else SEVERAL
        key = (kinds, reason, first_only)
        base = known.get(key)
        if base is None:
            base = known[key] = Base(kinds_of(kinds, "allow"), reason, bool(first_only), code, lasti)
        self._base = base

    def __enter__(self) -> Self:
        if _is_traced():
            return self
        outer = CURRENT.get()
        base = self._base
        base.entered = next(ENTRIES)
        grant = base.grants.get(id(outer))
        if grant is None:
            grant = base.grants[id(outer)] = Grant(base, outer)  # holds outer, so its id stays its own
        CURRENT.set(grant)
        if not _used:
            _first_use()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if _is_traced():
            return
        CURRENT.set(_without(CURRENT.get(), self._base))  # no token: a generator may be left in another context

    def __call__(self, function: F) -> F:
        """Allow it during every call of ``function``."""
        wrapper: Any
        if isinstance(function, type | property | staticmethod | classmethod) or not callable(function):
            kind = type(function).__name__
            where = f": write @{kind} above it" if isinstance(function, property | staticmethod | classmethod) else ""
            raise ConfigError(f"allow decorates functions, not {function!r}{where}")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

        elif inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return self._drive_async(function(*args, **kwargs))

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return self._drive(function(*args, **kwargs))

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if _is_traced():
                    return function(*args, **kwargs)
                with self:
                    return function(*args, **kwargs)

        return cast("F", wrapper)

    def _drive(self, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Allow it while the generator's own code runs, and not in between, where its consumer's does."""
        resume, value = generator.send, cast("Any", None)
        try:
            while True:
                try:
                    with self:
                        item = resume(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    value = yield item
                    resume = generator.send
                except GeneratorExit:
                    raise
                except BaseException as error:
                    resume, value = generator.throw, error
        finally:
            with self:
                generator.close()

    async def _drive_async(self, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
        resume, value = generator.asend, cast("Any", None)
        try:
            while True:
                try:
                    with self:
                        item = await resume(value)
                except StopAsyncIteration:
                    return
                try:
                    value = yield item
                    resume = generator.asend
                except GeneratorExit:
                    raise
                except BaseException as error:
                    resume, value = generator.athrow, error
        finally:
            with self:
                await generator.aclose()


def _is_traced() -> bool:
    """Whether Dynamo reads this instead of Python: calls inside a compiled graph are no events, and nothing may break it."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_dynamo_compiling())


def _without(grant: Grant | None, base: Base) -> Grant | None:
    """The grant once ``base`` is left, also where blocks are not left in the order they were entered."""
    if grant is None or grant.base is base:
        return grant and grant.outer
    outer = _without(grant.outer, base)
    if outer is grant.outer:
        return grant
    return grant.base.grants.setdefault(id(outer), Grant(grant.base, outer))


def _first_use() -> None:
    global _used
    _used = True
    while _listeners:
        _listeners.pop()(CURRENT)
