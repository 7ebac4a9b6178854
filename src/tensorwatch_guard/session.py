"""The one live session of a process: which guards are open, what step it is, and the order of an event.

An event goes: gate (is anybody listening, does it belong to a happening that is already told), site, policy before the call,
the call, sharing after it, collectors. Probes emit values to the session; it hands them to every open guard.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from time import perf_counter_ns
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import torch

from .collector import Collector, Shard, Tally
from .current import LOCAL, Happening, Here
from .routes import remember
from .sharing.attention import Attention
from .sharing.pace import Pace
from .sites import FILES, Trail, from_signal_handler, trail
from .steps import Steps
from .words import SIMULATED

if TYPE_CHECKING:
    from .memory import Memory
    from .operations import Operation
    from .words import Kind

_get_frame: Final = sys._getframe
_BUILT: Final[tuple[tuple[str, Callable[[], bool]], ...]] = (
    ("cuda", lambda: torch.version.cuda is not None or torch.version.hip is not None),
    ("xpu", lambda: getattr(torch.version, "xpu", None) is not None),
    ("mps", lambda: bool(getattr(torch._C, "_has_mps", False))),
)
MOST_FAULTS: Final = 20
SAMPLE: Final = 1023
"""One read in so many and one is timed, for the report's own overhead; a mask, so one less than a power of two."""
NEVER: Final = 1 << 63
STEP_READ: Final = "Tensor.item"
STEP_COUNTS: Final = "an optimizer's step counts"
STEP_BYTES: Final = 4
"""An optimizer's step count is a float32."""
LONG_NS: Final = 20_000
"""An event that took longer stands for itself alone."""
REWRITE_NS: Final = 30_000_000_000
"""Between two rewrites of a report file that was asked for."""


def _nobody_dozes() -> None:
    pass


class Fault:
    """A bug of ours that was kept away from the user's program."""

    __slots__ = ("count", "text", "where")

    def __init__(self, where: str, text: str) -> None:
        self.where = where
        self.text = text
        self.count = 0


class Session:
    """See the module docstring. ``collectors`` is replaced, never changed; ``generation`` tells threads that it was."""

    def __init__(self) -> None:
        self.collectors: tuple[Collector, ...] = ()
        self.generation = 0
        self.steps = Steps()
        self.strict = False
        """Some open guard has a level or a limit that acts at once: ``gate`` is asked ahead of each call."""
        self.every_read = False
        """Some open guard must hear of each read: reads take the long way."""
        self.memory_strict = False
        """Some open guard has a level for later writes: so do reads, for they look at shared memory."""
        self.short_reads = False
        """Reads may take the short way: somebody listens and asks for no more than to count them."""
        self.short_shares = False
        """The same of aliases, while policy wants to hear of none."""
        self.gate: Callable[[Session, Any], None] | None = None
        self.settle: Callable[[Here], Exception | None] | None = None
        """Says what policy has to say once a step of ours is done; may hand back what is to be raised."""
        self.flying = False
        """A copy is under way from host memory or to it."""
        self.watch_sources: Callable[[], None] | None = None
        """To be called when a copy from host memory is under way: calls that write in place are watched from then on."""
        self.devices = False
        """An accelerator is there (or simulated): calls can wait and move."""
        self.device_suffix = ""
        self.backends: tuple[str, ...] = ()
        self.overhead_ns = 0
        self.due_ns = NEVER
        """When the report files are to be rewritten, on ``perf_counter_ns``; the first event after it does so."""
        self.rewrite: Callable[[], None] | None = None
        self.grants: Any = None
        """The context variable of ``allow``, once somebody used it."""
        self.memory: Memory | None = None
        self.pace = Pace(0)
        """The memory's own."""
        self.attention = Attention()
        """The memory's own, too."""
        self.sharing = False
        """Some memory is shared now: events look at it."""
        self.past_counter = False
        """Some ``.data`` may be written through: backward looks for stale values."""
        self.rouse: Callable[[], None] = _nobody_dozes
        """Has what dozes until one of these is true, or a device is there, see ``probes/dozing.py``."""
        self.violation: tuple[type[Exception], ...] | None = None
        self.faults: dict[str, Fault] = {}
        self.backwards: list[FrameType] = []
        """Where the backwards were called that are running."""
        self.beat_at = 0
        """When ``beat`` is to be called, by ``perf_counter_ns``; 0 where nobody waits for it."""
        self.beat: Callable[[], None] | None = None
        """Writes part files and report files on the way: no thread does it, the events do."""

    # -- collectors ----------------------------------------------------------------------------------------------------

    def listen(self, collectors: tuple[Collector, ...]) -> None:
        """From now on these collectors hear every event."""
        self.collectors = collectors
        heeded = any(collector.heed is not None for collector in collectors)
        self.short_reads = bool(collectors) and not self.every_read and not self.memory_strict
        self.short_shares = bool(collectors) and not self.strict and not heeded and self.memory is not None
        self.generation += 1

    def fall_silent(self) -> None:
        """Nobody listens any more. Cannot fail."""
        self.collectors = ()
        self.short_reads = self.short_shares = False
        self.generation += 1

    def refresh(self, here: Here) -> None:
        """Give a thread its shards of the collectors that are open now."""
        generation = self.generation
        known = here.kept
        here.kept = {}
        shards = []
        for collector in self.collectors:
            shard = known.get(collector)
            if shard is None:
                shard = collector.new_shard(here.name)
            here.kept[collector] = shard
            shards.append((shard, collector))
        here.shards = tuple(shards)
        here.only = shards[0][0] if len(shards) == 1 and shards[0][1].heed is None else None
        here.busy_lines, here.temporaries = {}, 0
        here.generation = generation

    def reset(self) -> None:
        """The last guard is closed: the next one starts afresh."""
        self.steps.reset()
        self.faults, self.overhead_ns = {}, 0

    def pulse(self) -> None:
        """An event after the time that was asked for: whoever waits for it has its turn."""
        here = LOCAL.here
        busy, here.busy = here.busy, True
        try:
            if self.beat is not None:
                self.beat()
        except Exception as error:
            self.fault("writing on the way", error)
        finally:
            here.busy = busy

    def after_fork(self) -> None:
        """In a forked child: nothing of the parent's is counted, looked at or waited for here."""
        self.beat_at, self.due_ns = 0, NEVER
        LOCAL.here = Here()
        if self.memory is not None:
            self.memory.leave()
        self.memory, self.sharing, self.past_counter, self.flying = None, False, False, False
        self.backwards = []  # other threads' do not go on here
        self.reset()
        self.listen(())

    # -- happenings ----------------------------------------------------------------------------------------------------

    def begin(self, row: Operation, subject: object, frame: FrameType) -> Happening | None:
        """Open a happening for a watched call made from ``frame``; None when it belongs to one that is open."""
        here = LOCAL.here
        if here.busy or not self.collectors:
            return None
        outer = here.open
        if outer is not None and outer.swallows(row, subject, FILES[frame.f_code.co_filename]):
            return None
        happening = Happening(row, subject, self.trail(frame), outer)
        here.open = happening
        return happening

    def end(self, happening: Happening) -> None:
        """The call is over, with a result or an exception."""
        LOCAL.here.open = happening.outer

    def trail(self, frame: FrameType) -> Trail:
        """Site and origin of a call; on autograd's own threads, where no user frame stands, the open backward's."""
        found = trail(frame)
        if found.code is None and self.backwards and torch._C._current_graph_task_id() != -1:
            return trail(self.backwards[-1])
        return found

    # -- events --------------------------------------------------------------------------------------------------------

    def emit(  # noqa: C901 - one event, field by field
        self,
        kind: Kind,
        op: str,
        at: Trail,
        *,
        key: Any = None,
        nbytes: int = 0,
        blocked_ns: int = 0,
        blocking: bool = False,
        implicit: bool = False,
        via: tuple[str, ...] = (),
        details: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        thread: str | None = None,
    ) -> list[Tally]:
        """Count one event in every open guard and return the tallies, for links between them."""
        here = LOCAL.here
        if here.generation != self.generation:
            self.refresh(here)
        grant = self.grants.get() if self.grants is not None else None
        full = (kind, op, at.key, key, grant)
        here.told += kind in ("sync", "transfer")
        tallies = []
        for shard, collector in here.shards:
            tally = shard.get(full)
            if tally is None:
                tally = collector.open(shard, full, kind, op, at, self.steps.now)
                tally.implicit, tally.via, tally.grant = implicit, via, grant
            tally.count += 1
            if tally.last_step != self.steps.now or tally.count == 1:
                tally.at_steps += 1
            tally.last_step = self.steps.now
            tally.nbytes += nbytes
            tally.blocked_ns += blocked_ns
            tally.blocking += blocking
            if callable(details):  # dear to make: only for the first happening
                if not tally.details:
                    tally.details = details()
            elif details is not None:
                tally.describe(details)
            if thread is not None:
                tally.threads = (tally.threads or frozenset()) | {thread}
            elif tally.threads is not None:
                tally.in_task()
            if collector.heed is not None:
                collector.heed(tally, blocking)
            elif kind == "hazard" and collector.policy is not None:
                collector.policy.heed(tally)
            tallies.append(tally)
        return tallies

    def count_read(
        self, here: Here, key: Any, row: Operation, at: Trail, unit_bytes: int = 0,
        shards: tuple[tuple[Shard, Collector], ...] = (),
    ) -> None:  # fmt: skip
        """A read that has no tally yet in ``shards``; for all shards one that is allowed, and one where they are stale."""
        if here.generation != self.generation:
            self.refresh(here)
        grant = self.grants.get() if self.grants is not None else None
        if grant is not None:
            key = (key, grant)
        for shard, collector in shards or here.shards:
            tally = shard.get(key)
            if tally is None:
                tally = collector.open(shard, key, "read", row.name, at, self.steps.now)
                tally.implicit, tally.unit_bytes, tally.grant = row.implicit, unit_bytes, grant
            tally.count += 1
            tally.last_step = self.steps.now
            here.sample = not tally.count & SAMPLE
            if collector.heed is not None:
                collector.heed(tally, False)

    def count_step_reads(self, here: Here, frame: FrameType) -> None:
        """An optimizer's step is over, called from there: what it read of its own step counts is one kind of read."""
        count, here.step_reads = here.step_reads, 0
        if here.generation != self.generation:
            self.refresh(here)
        busy = here.busy_lines.get((STEP_COUNTS, id(frame.f_code), frame.f_lasti))
        if busy is not None and busy.left and (known := busy.tally or busy.way(4)) is not None:
            busy.left -= 1
            known.count += count
            known.last_step = self.steps.now
            return
        at = self.trail(frame)
        grant = self.grants.get() if self.grants is not None else None
        key = (STEP_READ, *at.key) if grant is None else ((STEP_READ, *at.key), grant)
        for shard, collector in here.shards:
            tally = shard.get(key)
            if tally is None:
                tally = collector.open(shard, key, "read", STEP_READ, at, self.steps.now)
                tally.unit_bytes, tally.grant, tally.details = STEP_BYTES, grant, {"of": STEP_COUNTS}
            tally.count += count
            tally.last_step = self.steps.now
        if here.only is not None and self.grants is None:
            counted = here.only.get(key)  # none past the most sites that are kept
            busy = remember(here.busy_lines, STEP_COUNTS, frame, counted, None) if counted is not None else None
            if counted is not None and busy is not None:
                busy.settle(counted)

    def boundary(self, at: Trail, phase: int = 0, *, final: bool = False) -> None:
        """Everything shared is looked at. ``phase``: of the call that stands there, see ``sharing/moments.py``."""
        if self.sharing and self.memory is not None:
            self.memory.boundary(at, phase, final=final)

    def torch_boundary(self, at: Trail, phase: int) -> None:
        """What torch itself may write is looked at."""
        if self.sharing and self.memory is not None:
            self.memory.torch_boundary(at, phase)

    def begin_sharing(self) -> None:
        """Some memory is shared from now on."""
        self.sharing = True
        self.rouse()

    def begin_past_counter(self) -> None:
        """Some memory may be written from now on with no trace in a version counter."""
        self.past_counter = True
        self.rouse()

    def knows(self, tensors: Iterable[torch.Tensor]) -> bool:
        """Whether the memory of one of these tensors is known to be shared."""
        memory = self.memory
        return memory is not None and any(memory.knows(one.untyped_storage().data_ptr()) for one in tensors)

    def look_for_devices(self) -> None:
        """Whether this process can have device tensors. Initialises no accelerator: what is built in is enough to ask."""
        active = getattr(sys.modules.get("tensorwatch_guard.simulate"), "active", None)
        simulated = active() if active is not None else None
        built = tuple(name for name, there in _BUILT if there())
        self.device_suffix = f" {SIMULATED}" if simulated else ""
        self.backends = tuple(dict.fromkeys((*((simulated,) if simulated else ()), *built)))
        self.devices = bool(self.backends)
        if self.devices:
            self.rouse()

    def device_label(self, device: torch.device | None) -> str:
        """A device as findings name it."""
        return f"{device}{self.device_suffix}" if device is not None else ""

    def due(self, here: Here) -> Exception | None:
        """Policy speaks. What it hands back is for the user: a violation, or a warning that a filter made an error."""
        try:
            return self.settle(here) if self.settle is not None else None
        except Exception as error:
            self.fault("policy", error)
            return None

    def is_violation(self, error: BaseException) -> bool:
        """Whether policy raised it: then it is for the user."""
        return self.violation is not None and isinstance(error, self.violation)

    def timed(self, started: int, stands_for: int = 1) -> None:
        """Our own work since ``started`` is added to the overhead, as that of so many events."""
        ended = perf_counter_ns()
        spent = ended - started
        # what took long was a look, or another thread's turn: the others were no such ones
        self.overhead_ns += spent * stands_for if spent < LONG_NS else spent
        if ended > self.due_ns:
            self.tick(ended)

    def tick(self, now_ns: int) -> None:
        """An event past ``due_ns``: what is kept is written down, so that a killed run leaves a report."""
        self.due_ns = now_ns + REWRITE_NS
        if self.rewrite is not None:
            try:
                self.rewrite()
            except Exception as error:
                self.fault("report file", error)

    # -- faults --------------------------------------------------------------------------------------------------------

    def fault(self, where: str, error: BaseException) -> None:
        """A bug of ours: counted, told once in the report, never raised into the user's program.

        Raises:
            Exception: ``error`` itself, where a signal handler of the user's raised it in the middle of ours.
        """
        if from_signal_handler(error):
            raise error
        text = f"{type(error).__name__}: {error}"
        known = self.faults.get(where)
        if known is None and len(self.faults) < MOST_FAULTS:
            known = self.faults[where] = Fault(where, text)
        if known is not None:
            known.count += 1


SESSION: Final = Session()
