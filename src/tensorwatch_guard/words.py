"""The words of the house: plain values that every other room speaks in. Imports nothing of the package.

The terms are those of the report file (schema ``tensorwatch-guard/1``): a *kind* says what happened, a *site* where in the
user's code, a *finding* adds up all happenings of one (kind, op, origin, site).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Final, Literal, NamedTuple, NoReturn, get_args

Kind = Literal["read", "sync", "transfer", "alias", "mutation", "hazard", "refusal"]
Direction = Literal["h2d", "d2h", "d2d"]
Level = Literal["off", "log", "warn", "error"]
Severity = Literal["note", "warning", "error", "critical"]
Writer = Literal["numpy", "torch", "unknown"]
WrittenBy = tuple[Writer, "frozenset[int] | None"]
"""Who, and ``Write.known_to``."""
Follower = Literal["lines", "pages", "both"]
Layer = Literal["calls", "ops"]

SIMULATED: Final = "(simulated)"
"""What stands behind the name of a device that is none."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)

SCHEMA: Final = "tensorwatch-guard/1"


class Frozen(dict[str, Any]):
    """A dict that does not change. Reports are pickled and copied and dumped as JSON, which a mappingproxy refuses."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a report does not change: make a dict of it, and change that")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> tuple[type[Frozen], tuple[dict[str, Any]]]:
        return Frozen, (dict(self),)


NOTHING: Final[Mapping[str, Any]] = Frozen()


@dataclass(frozen=True, slots=True)
class Site:
    """An expression in a source file: lines from 1, columns from 0 in characters, both ends as ``co_positions`` gives them."""

    file: str
    line: int
    end_line: int | None = None
    column: int | None = None
    end_column: int | None = None
    function: str = ""
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Related:
    """Another finding that belongs to the same story. ``role``: ``shared-``, ``written-``, ``consumed-`` or ``severed-by``."""

    role: str
    id: str
    site: Site | None
    origin: Site | None = None
    """The library line that shared it, where the user's own did not: his expression cannot be copied there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """All happenings of one (kind, op, origin, site), added up. Field by field what the report file holds."""

    id: str
    kind: Kind
    op: str
    rule: str
    severity: Severity
    site: Site | None
    origin: Site | None = None
    via: tuple[str, ...] = ()
    count: int = 1
    per_step: float = 0.0
    bytes: int = 0
    blocked_s: float = 0.0
    blocking: bool = False
    implicit: bool = False
    threads: tuple[str, ...] = ()
    first_step: int = 0
    last_step: int = 0
    allowed: str | None = None
    advice: str = ""
    related: tuple[Related, ...] = ()
    details: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Keys of a loaded file that this version does not know; dumped again unchanged."""

    def __post_init__(self) -> None:
        if type(self.details) is not Frozen:
            object.__setattr__(self, "details", Frozen(self.details))

    @property
    def directions(self) -> Mapping[Direction, int]:
        """Of a transfer: how often data went in each direction, the commonest first; nothing of any other finding."""
        if self.kind != "transfer" or "direction" not in self.details:
            return {}
        return self.details.get("directions") or {self.details["direction"]: self.count}


class Region(NamedTuple):  # a tuple: made once an alias, where a frozen dataclass costs four times as much
    """A piece of memory as one array or tensor sees it.

    ``nbytes`` is the span from ``address`` (the lowest byte) to the last byte + 1, ``strides`` are in bytes; a dense region
    has a span equal to its elements' bytes.
    """

    address: int
    nbytes: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int
    dtype: str


Mark = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """Contents that differ from what was remembered: byte offsets ``[first, last)`` in the region of ``key``.

    ``before`` and ``after`` are the bytes of that range; ``before`` is None where only hashes had been kept. Then ``marks``
    are the first and the last block that differ (what lies between may be unchanged): byte offsets, and the hash before.
    """

    key: int
    first: int
    last: int
    before: bytes | None
    after: bytes | None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where code was: a line, and the very instruction if ``lasti`` is not -1."""

    file: str
    line: int
    function: str
    code: CodeType | None = None
    lasti: int = -1


@dataclass(frozen=True, slots=True)
class Write:
    """A write that a follower saw. ``exact`` only when no other line can have done it; else ``suspects`` holds all that can."""

    key: int
    first: int
    last: int
    before: bytes | None
    after: bytes | None
    place: Place | None
    thread: str
    writer: Writer
    exact: bool
    suspects: tuple[Place, ...] = ()
    by: Follower = "lines"
    sequence: int | None = None
    """Autograd's sequence number in the writing thread when the write was seen, None where unknown."""
    alone: bool = False
    """Nobody but the writer had the memory."""
    known_to: frozenset[int] | None = None
    """Of PyTorch's writes the storages whose version counters know of it; None where all do, or nobody asked."""
    times: int = 1
    """It stands for so many of its line, of which only the first few are kept one by one."""
    ident: int = 0
    """Of the writing thread, whose name others may have, too; 0 where unknown."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What ran: the ``run`` object of the report file. Times in seconds, ``started`` in ISO 8601."""

    argv: tuple[str, ...] = ()
    python: str = ""
    torch: str = ""
    numpy: str = ""
    version: str = ""
    host: str = ""
    pid: int = 0
    rank: int | None = None
    world_size: int | None = None
    started: str = ""
    duration_s: float = 0.0
    steps: int = 0
    aborted: bool = False
    layers: tuple[str, ...] = ("calls",)
    writes: str = "check"
    overhead_s: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
