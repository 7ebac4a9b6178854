"""Findings added up while a guard is open.

A collector belongs to one guard. Each thread writes into a shard of its own (no lock on the way), memory grows with call
sites and never with events. What a tally means in words is decided later, when a report is made.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .sites import NOWHERE, Trail, identity

if TYPE_CHECKING:
    from .options import Config
    from .policy.allow import Grant
    from .policy.heed import Policy
    from .words import Direction, Kind

MOST_SITES: Final = 20_000
"""Tallies one thread may open for one guard; what comes after is counted in one finding that says so."""


MOST_LINKS: Final = 20
MOST_TASKS: Final = 64
"""Asyncio tasks that one finding names."""


class Link(NamedTuple):
    """One end of a story: what it was and where. Its finding's id follows from that."""

    role: str
    kind: Kind
    op: str
    trail: Trail
    extra: Trail | None


class Tally:
    """One (kind, op, origin, site) of one thread, added up. Bytes are plain; times are nanoseconds."""

    __slots__ = (
        "again",
        "allowed",
        "at_steps",
        "began",
        "blocked_ns",
        "blocking",
        "count",
        "details",
        "ended",
        "ends",
        "extra",
        "first_step",
        "gone",
        "grant",
        "implicit",
        "into",
        "kept",
        "kind",
        "last_step",
        "lines",
        "links",
        "memory",
        "more",
        "nbytes",
        "op",
        "owner",
        "passed",
        "sample_at",
        "serial",
        "size",
        "starts",
        "threads",
        "trail",
        "unit_bytes",
        "unnoted",
        "via",
        "watch_at",
    )

    def __init__(self, kind: Kind, op: str, trail: Trail, step: int) -> None:  # noqa: PLR0915 - one slot a line
        self.kind: Kind = kind
        self.op = op
        self.trail = trail
        self.count = 0
        self.nbytes = 0
        self.unit_bytes = 0
        self.blocked_ns = 0
        self.blocking = 0
        self.implicit = False
        self.at_steps = 0
        """In how many steps it happened; only of what is emitted one by one."""
        self.first_step = step
        self.last_step = step
        self.details: dict[str, Any] = {}
        self.more: dict[str, int] = {}
        self.via: tuple[str, ...] = ()
        self.allowed: str | None = None
        self.grant: Grant | None = None
        self.links: dict[tuple[object, ...], Link] = {}
        self.memory: frozenset[tuple[str, int]] = frozenset()
        """Of a mutation: dtypes and numbers of dimensions of what was written."""
        self.threads: frozenset[str] | None = None
        """Threads that did it, where they are not the thread that counted it."""
        self.extra: Trail | None = None
        """The other end of the interval of an inexact mutation."""
        self.began = self.ended = 0
        """Of a mutation: serial numbers of the events between which it was written, of the first and the last time."""
        self.again: Callable[[], bool] | None = None
        """Whether the program came by that interval once more: only then what is named later can be what it held."""
        self.starts: set[tuple[object, ...]] = set()
        self.ends: set[tuple[object, ...]] = set()
        """Of a line: where the intervals begin and end in which it was found."""
        self.into: Tally | None = None
        """The tally that tells this one's story, too: the line of this interval's write was found."""
        self.lines: tuple[Tally, ...] = ()
        """All lines that were found in this interval, the one it gave way to among them."""
        self.owner: Collector | None = None
        self.serial = 0
        self.unnoted = False
        """Its reads are passed over in ``sharing/passes.py``."""
        self.kept = 0
        """Arrays and tensors that were kept and all are the memory that was written."""
        self.passed = 0
        """Aliases that were counted and not watched."""
        self.gone = 0
        """Watched ones that died as they were born."""
        self.size = 0
        """Bytes of the last alias that was looked at: a settled line's are all taken for as large."""
        self.sample_at = 0
        """The first of its reads after this many is timed."""
        self.watch_at = 0
        """Aliases before this one are not watched: see ``sharing/sampling.py``."""

    @property
    def direction(self) -> Direction | None:
        """Of a transfer; one line may copy in two."""
        direction: Direction | None = self.details.get("direction") if self.kind == "transfer" else None
        return direction

    @property
    def id(self) -> str:
        """That of the finding it is told in."""
        return identity(self.kind, self.op, self.trail, self.extra)

    def may_hold(self, line: Tally) -> bool:
        """Whether what happened at a line that was named can be what this interval held: at its time, or when it came again."""
        if self.again is None or (line.began <= self.ended and self.began < line.ended):
            return True
        if self.trail.code is None and self.extra is not None and self.extra.key[:4] in line.starts:
            return True  # nothing came after the last turn of the line's loop, but the guard's end
        return (not line.ends or self.trail.key in line.ends) and self.again()

    def link(self, role: str, kind: Kind, op: str, trail: Trail, extra: Trail | None = None) -> None:
        """Another happening that belongs to this one's story. ``extra``: the other end of its interval."""
        if len(self.links) < MOST_LINKS and (key := (role, op, trail.key, extra and extra.key)) not in self.links:
            self.links[key] = Link(role, kind, op, trail, extra)

    def in_task(self) -> None:
        """It was first seen in an asyncio task; another one may do it now."""
        if self.threads is not None and len(self.threads) < MOST_TASKS:
            task = task_name()
            if task is not None:
                self.threads |= {task}

    def describe(self, details: dict[str, Any]) -> None:
        """Details are of the first happening; of later ones only how many differed is kept."""
        if not self.details:
            self.details = details
            return
        for name, value in details.items():
            if self.details.get(name) != value:
                self.more[name] = self.more.get(name, 0) + 1


Shard = dict[Any, Tally]


def task_name() -> str | None:
    """Thread and task of the asyncio task that runs here: ``MainThread (Task-3)``; None outside of tasks."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        task = asyncio.current_task()
    except (RuntimeError, AttributeError):  # no loop runs in this thread, or asyncio is being imported
        return None
    return f"{threading.current_thread().name} ({task.get_name()})" if task is not None else None


class Collector:
    """What one guard has seen. ``first`` is the process's step count when the guard was entered."""

    def __init__(self, config: Config, first: int) -> None:
        self.config = config
        self.first = first
        self.shards: list[tuple[str, Shard]] = []
        self.cut = 0
        self.aborted = False
        self.opened_at = NOWHERE
        """Where its guard was entered last."""
        self.heed: Callable[[Tally, bool], None] | None = None
        """Policy that wants to hear of each event, and whether the host waited in it; None where nobody asks."""
        self.policy: Policy | None = None
        self.on_new: Callable[[], None] | None = None
        """Called when a site is seen for the first time."""
        self._serial = 0
        self._lock = threading.Lock()

    def new_shard(self, thread: str) -> Shard:
        """A shard for the thread that asks; it lives as long as the collector."""
        shard: Shard = {}
        with self._lock:
            self.shards.append((thread, shard))
        return shard

    def open(self, shard: Shard, key: Any, kind: Kind, op: str, trail: Trail, step: int) -> Tally:
        """The first event of a site in a thread. Past the cap, everything of one kind falls into one tally."""
        if len(shard) >= MOST_SITES:
            self.cut += 1
            key, trail = ("cut", kind), NOWHERE
            known = shard.get(key)
            if known is not None:
                return known
        tally = Tally(kind, op, trail, step)
        self._serial += 1
        tally.serial = self._serial
        tally.owner = self
        task = task_name()
        if task is not None:
            tally.threads = frozenset({task})
        shard[key] = tally
        if self.on_new is not None:
            self.on_new()
        return tally

    def tallies(self) -> Iterator[tuple[str, Tally]]:
        """All tallies with their thread's name; safe while other threads go on counting."""
        for thread, shard in list(self.shards):
            for tally in list(shard.values()):
                yield thread, tally

    def count(self, kind: Kind) -> int:
        """Events of a kind so far, in all threads."""
        return sum(tally.count for _, tally in self.tallies() if tally.kind == kind)
