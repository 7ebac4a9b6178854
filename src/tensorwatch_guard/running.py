"""The machinery behind open guards: what is installed while any is open, and who listens.

Everything here happens when guards open and close, nothing on the way of an event.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from . import reporting
from .collector import Collector
from .containment import suppress_faults, take_all
from .expressions import forget
from .memory import Memory
from .options import is_killed
from .policy import allow
from .policy.heed import Policy, settle
from .policy.violation import GuardViolation, TensorWatchWarning
from .probes.calls import installation
from .probes.install import Installation
from .probes.ops import LAYER
from .probes.optimizer_steps import OptimizerSteps
from .probes.patterns import PATTERNS
from .probes.refusals import tell_waiting
from .probes.spans import told
from .probes.stand_in import forget as drop_stand_ins
from .probes.trace import TraceLayer
from .session import NEVER, REWRITE_NS, SESSION
from .sharing.moments import now
from .sites import Trail, trail

if TYPE_CHECKING:
    from types import FrameType

    from .guard import guard
    from .report.model import Report
    from .words import Site


class Running:
    """One for the process: ``RUNNING``."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.files = threading.RLock()
        """Held by who writes a report file: what is written on the way never replaces the last word."""
        self._turns: weakref.WeakKeyDictionary[guard, threading.RLock] = weakref.WeakKeyDictionary()
        self.session = SESSION
        self._install: Installation | None = None
        self._optimizers = OptimizerSteps()
        self._trace = TraceLayer()
        self._traced = False
        self._lingers = False
        self._open: list[Collector] = []
        self._layered: set[Collector] = set()
        self._paused: dict[Collector, int] = {}
        self._files: dict[Collector, guard] = {}
        self._first_alias: dict[Collector, int] = {}

    @property
    def step(self) -> int:
        """Steps of the process so far."""
        return self.session.steps.now

    @property
    def patched(self) -> list[str]:
        """What is patched right now."""
        return self._install.names if self._install is not None else []

    # -- guards come and go --------------------------------------------------------------------------------------------

    def turn(self, one: guard) -> threading.RLock:
        """Held by the thread that enters or leaves it: threads may share one guard."""
        with self.lock:
            return self._turns.setdefault(one, threading.RLock())

    def open(self, opened: guard, collector: Collector, at: Trail) -> bool:
        """A guard was entered. True if it is the outermost one. Where it raises, ``undo`` is to be called."""
        with self.lock:
            self._make_policy(opened, collector)
            collector.opened_at = at
            if is_killed(os.environ):
                return False
            first = not self._open
            if first:
                self._begin(opened.config.writes)
            else:
                self.session.steps.keep()
                if self.session.memory is not None:
                    self.session.memory.raise_mode(opened.config.writes, now(at))
            self._open.append(collector)
            memory = self.session.memory
            self._first_alias.setdefault(collector, memory.last_serial if memory is not None else 0)
            if opened.config.json is not None:
                self._files[collector] = opened
                self.session.rewrite = self._rewrite
                self.session.due_ns = min(self.session.due_ns, time.perf_counter_ns() + REWRITE_NS)
            self._listen()
            if opened.config.census and self.session.memory is not None:
                with suppress_faults("census"):
                    self.session.memory.take_census()
            if opened.config.ops:
                self._layered.add(collector)
                LAYER.enter()
            return first

    def joined(self, collector: Collector) -> None:
        """One more thread has entered an open guard."""
        if collector in self._layered:
            LAYER.hold()

    def parted(self, collector: Collector) -> None:
        """A thread has left it, others have not."""
        if collector in self._layered:
            LAYER.release()

    def _make_policy(self, opened: guard, collector: Collector) -> None:
        if collector.policy is None:
            collector.policy = Policy(opened.config, collector, self.session)
            collector.policy.baseline, collector.policy.records = opened.baseline, opened.records
            collector.policy.report = lambda: self.report_of(opened, collector)
            collector.heed = collector.policy.heed if collector.policy.listens else None

    def _rewrite(self) -> None:
        """Write down what open guards have seen so far, for those that were asked for a file."""
        from .printing import write_file

        for collector, opened in list(self._files.items()):
            report = reporting.on_the_way(self.report_of(opened, collector))
            with self.files:
                if collector in self._files:  # else the guard was left meanwhile
                    write_file(report, opened.config.json)

    def before_close(self, closing: guard, collector: Collector, frame: FrameType | None) -> None:
        """The last look at shared memory while the guard still listens."""
        with suppress_faults("last look"):
            self.session.boundary(trail(frame), final=True)
        with suppress_faults("refusals"):
            tell_waiting()

    def close(self, collector: Collector) -> None:
        """A guard was left; the last one out restores everything."""
        with self.lock:
            if collector in self._open:  # else switched off by the kill switch
                self.undo(collector)

    def undo(self, collector: Collector) -> None:
        """Take away what entering has put in place, all of it or a part."""
        with self.lock:
            leave = (lambda: self._forget(collector), self._listen, lambda: self._leave_layer(collector), self._end_if_last)
            take_all("leaving", *leave)

    def _forget(self, collector: Collector) -> None:
        if collector in self._open:
            self._open.remove(collector)
        self._paused.pop(collector, None)
        self._files.pop(collector, None)
        if not self._files:
            self.session.due_ns = NEVER

    def _leave_layer(self, collector: Collector) -> None:
        if collector in self._layered:
            LAYER.leave()
            self._layered.discard(collector)

    def pause(self, collector: Collector) -> None:
        """A collector hears nothing until it is resumed as often."""
        with self.lock:
            self._paused[collector] = self._paused.get(collector, 0) + 1
            self._listen()

    def resume(self, collector: Collector) -> None:
        """The other half of ``pause``."""
        with self.lock:
            left = self._paused.get(collector, 0) - 1
            if left > 0:
                self._paused[collector] = left
            else:
                self._paused.pop(collector, None)
            self._listen()

    @property
    def in_place(self) -> bool:
        """Whether the probes are on now."""
        return self._install is not None and self._install.in_place

    @property
    def heard(self) -> tuple[Collector, ...]:
        """Collectors of the open guards that are not paused."""
        return tuple(one for one in self._open if one not in self._paused)

    def after_fork(self) -> None:
        """In a forked child: nobody listens, no lock is held, the probes stay in place."""
        self.lock, self.files = threading.RLock(), threading.RLock()
        self._turns.clear()
        self._open = []
        self._layered = set()
        self._paused = {}
        self._first_alias = {}
        self._files = {}
        self._trace.stop()
        if self._install is not None:
            self._install.after_fork()
        LAYER.after_fork()
        self.session.after_fork()

    def give_up(self) -> None:
        """Take the probes away in a process that is not followed."""
        with self.lock:
            self._end()

    def _listen(self) -> None:
        heard = self.heard
        self.session.strict = any(one.policy is not None and one.policy.strict for one in heard)
        if self.session.strict and self.session.gate is None:
            from .policy.gate import gate

            self.session.gate = gate
        self.session.every_read = any(one.policy is not None and one.policy.every_read for one in heard)
        self.session.memory_strict = any(one.policy is not None and one.policy.memory_strict for one in heard)
        if self.session.memory_strict:
            self.session.pace.stay_awake()
        self.session.listen(heard)

    def _begin(self, writes: str) -> None:
        if self._install is None or not self._install.in_place:
            forget()
        session = self.session
        session.reset()
        session.look_for_devices()
        session.memory = Memory(session, writes)
        session.pace, session.attention = session.memory.writes.pace, session.memory.attention
        PATTERNS.clear()
        if self._install is None:
            self._install = installation()
            session.watch_sources = self._install.watch_sources
        try:
            self._install.watch_devices(session.devices)
            if not self._install.in_place:
                self._install.start()
                self._optimizers.start()
            self._traced = self._trace.start(session.backends)
        except BaseException:
            self._lingers = False
            raise

    def linger(self, on: bool) -> None:
        """Leave the probes in place when the last guard is left: the next one (of the next test) opens faster."""
        with self.lock:
            self._lingers = on
            self.step_aside()

    def step_aside(self) -> None:
        """Take lingering probes away, for somebody who is about to replace the same functions."""
        with self.lock:
            if not self._open and self._install is not None and self._install.in_place:
                self._lift()

    def devices_changed(self) -> None:
        """A simulated accelerator came or went."""
        with self.lock:
            if self._open:
                self.session.look_for_devices()
                if self._install is not None:
                    self._install.watch_devices(self.session.devices)
                self._trace.stop()
                self._traced = self._trace.start(self.session.backends)

    def _lift(self) -> None:
        take_all("leaving", self._install.stop if self._install is not None else _nothing, self._optimizers.stop)

    def _end_if_last(self) -> None:
        if not self._open:
            self.session.fall_silent()  # whatever became of the rest, nobody hears
            self._end()

    def _end(self) -> None:
        memory, self.session.memory = self.session.memory, None
        self.session.sharing = self.session.past_counter = False
        self._first_alias.clear()
        take_all(
            "leaving",
            _nothing if self._lingers else self._lift,
            self._trace.stop,
            memory.clear if memory is not None else _nothing,
            drop_stand_ins,
        )

    # -- while open ----------------------------------------------------------------------------------------------------

    def step_by_hand(self) -> None:
        """``g.step()``."""
        self.session.steps.stepped_by_hand()

    def check(self, asking: guard, collector: Collector, at: Trail) -> Any:
        """A boundary asked for; the mutations found since the last one that was asked for."""
        told(self.session, lambda: self.session.boundary(at))
        before, mutations = asking.checked, self.report_of(asking, collector).mutations
        asking.checked = {finding.id: finding.count for finding in mutations}
        return tuple(finding for finding in mutations if finding.count > before.get(finding.id, 0))

    def shared_in(self, low: int, high: int) -> set[tuple[str, Site]]:
        """Where the live sharings of memory in ``[low, high)`` began: operations and sites."""
        memory = self.session.memory
        return memory.began_in(low, high) if memory is not None else set()

    # -- reports -------------------------------------------------------------------------------------------------------

    def no_report(self) -> Report:
        """Of a guard in which there was nothing to tell."""
        return reporting.nothing()

    def report_of(self, asked: guard, collector: Collector) -> Report:
        """An immutable report of what a guard has seen so far."""
        if collector in self._open:
            with suppress_faults("refusals"):
                tell_waiting()
        return reporting.report_of(self.session, asked, collector, self._first_alias.get(collector, 0), traced=self._traced)

    def empty_report(self, asked: guard, collector: Collector, fault: Exception) -> Report:
        """What is left when the report itself failed: the run, and why."""
        return reporting.without_findings(self.session, asked, collector, fault, traced=self._traced)


def _nothing() -> None:
    """A step that there is none of."""


def _grants(current: Any) -> None:
    SESSION.grants = current
    SESSION.generation += 1  # what threads know of busy lines is of before


RUNNING: Final = Running()
SESSION.settle = settle
SESSION.violation = (GuardViolation, TensorWatchWarning)
allow.on_first_use(_grants)

