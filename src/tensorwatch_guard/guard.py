"""``guard``: what users hold in their hands. A context manager, a decorator, or a pair of calls."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .collector import Collector
from .decorating import decorated
from .options import Config
from .processes.household import HOUSEHOLD
from .running import RUNNING
from .sites import trail

if TYPE_CHECKING:
    from typing_extensions import Self

    from .policy.baseline import Baseline
    from .policy.heed import Policy
    from .policy.violation import GuardViolation
    from .report.model import Report
    from .words import Finding

F = TypeVar("F", bound=Callable[..., Any])


class guard:  # noqa: N801  # reads as a word in ``with guard():``, as ``suppress`` and ``closing`` do
    """Learn where a program copies between devices, waits, and shares memory that is written later.

    Use it as ``with guard() as g:``, as ``@guard`` or ``@guard(sync="error")`` on a function, a coroutine function or a
    generator function, or with ``g.start()`` and ``g.stop()``. It may be entered again after it was left; guards nest and
    may be open in several threads at once.

    Args:
        level: ``"off"``, ``"log"``, ``"warn"`` or ``"error"`` for sync, transfer, mutation and hazard; reads, aliases and
            refusals are only logged unless they are named.
        **options: see ``docs/options.md``.

    Raises:
        ConfigError: (a ValueError) for an unknown option or a bad value, before anything is patched.
    """

    def __new__(cls, level: Any = "log", **options: Any) -> Any:
        """``@guard`` without brackets gets the function itself."""
        if callable(level):
            return cls(**options)(level)
        return super().__new__(cls)

    def __init__(self, level: Any = "log", **options: Any) -> None:
        self._set_up(Config.from_keywords(level, **options), process_report=False)

    @classmethod
    def from_config(cls, config: Config, process_report: bool = False) -> Self:
        """A guard of a ready config. ``process_report``: it stands for a whole process and reports at its end."""
        self = super().__new__(cls)
        self._set_up(config, process_report)
        return self

    def _set_up(self, config: Config, process_report: bool) -> None:
        config.check_files()
        self.config = config = config.anchored()
        self._process_report = process_report
        self.records = config.update_baseline
        self.told: frozenset[str] = frozenset()
        """Findings that calls of a decorated function have shown already: each call shows what is new."""
        self.brief = False
        """Where nothing is to be told, no report is made: for those who open thousands of guards."""
        self.baseline: Baseline | None = None
        if config.baseline and not config.update_baseline:
            from .policy.baseline import load

            self.baseline = load(config.baseline)
        self._collector: Collector | None = None
        self.checked: dict[str, int] = {}
        """Mutations that ``check()`` has handed out, and how often they had happened."""
        self._within: set[int] = set()
        """Threads that have entered and not left."""
        self._depth = 0
        self._outermost = False
        self._report: Report | None = None
        self._started = 0.0
        self._started_at = ""
        self._duration = 0.0
        self._base = 0
        self._pid = os.getpid()

    # -- opening and closing -------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Open the guard.

        Raises:
            RuntimeError: if it is open already.
        """
        me = get_ident()
        with RUNNING.turn(self):
            if self._within and me not in self._within:
                self._policy.enter()  # open in another thread: both are in it, the last one to leave closes it
                RUNNING.joined(self.collector)
            elif self.is_open:
                raise RuntimeError("this guard is open already: leave it first, or make a second one with guard()")
            else:
                self._begin()
            self._within.add(me)
        return self

    def _begin(self) -> None:
        self._collector = None
        self._duration = 0.0
        self.told = frozenset()
        try:
            self._open()
            self._policy.enter()
        except BaseException:
            self._undo()
            raise

    def stop(self) -> Report:
        """Close the guard and return its report. Files that were asked for are written, nothing is printed.

        Raises:
            RuntimeError: if it is not open.
            GuardViolation: (an AssertionError) if a level or a limit was broken.
        """
        ended = self._leave(None, "this guard is not open: enter it with `with guard() as g:` or g.start() first")
        if ended is None:
            return self.report
        self._finish(*ended, None, prints=False)
        return ended[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ended = self._leave(error, "this guard is not open: it was left already")
        if ended is not None:
            self._finish(*ended, error)

    def _leave(self, error: BaseException | None, if_not: str) -> tuple[Report, Policy] | None:
        """This thread leaves, or the one that entered on its behalf. What is to be told if it was the last.

        Another thread may enter right after it, so nobody asks the guard itself for its report from then on.
        """
        with RUNNING.turn(self):
            if not self._within:
                raise RuntimeError(if_not)
            me = get_ident()
            self._within.discard(me if me in self._within else next(iter(self._within)))
            if self._within:
                self._policy.leave()
                RUNNING.parted(self.collector)
                return None
            return self._close(error)

    def _open(self) -> None:
        if self._collector is None or self._pid != os.getpid():
            self._collector = Collector(self.config, RUNNING.step)
            self.checked = {}
            self._pid = os.getpid()
            self._started_at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._report = None
        self._outermost = RUNNING.open(self, self._collector, trail(sys._getframe(1)))
        HOUSEHOLD.opened(self)
        self._started = time.perf_counter()

    def _undo(self) -> None:
        """Entering went wrong: nothing of it stays in place."""
        if self._collector is not None:
            HOUSEHOLD.forget(self)
            RUNNING.undo(self._collector)

    def _close(self, error: BaseException | None) -> tuple[Report, Policy] | None:
        if self._pid != os.getpid():
            return None  # entered before a fork, left in the child: the guard is the parent's, the child is followed
        collector = cast("Collector", self._collector)
        collector.aborted = error is not None and not isinstance(error, GeneratorExit)
        try:
            self._policy.over = error is None
            RUNNING.before_close(self, collector, sys._getframe(1))
            self._duration += time.perf_counter() - self._started
            self._started = 0.0
            quiet = self.brief and self._policy.is_quiet()
            self._report = RUNNING.no_report() if quiet else RUNNING.report_of(self, collector)
        except Exception as fault:  # a bug of ours costs the findings, never the training
            self._report = RUNNING.empty_report(self, collector, fault)
        finally:
            self._started = 0.0
            RUNNING.close(collector)
        self._report = HOUSEHOLD.closed(self, self._report, collector)
        return self._report, self._policy

    def _finish(self, report: Report, policy: Policy, error: BaseException | None, *, prints: bool = True) -> None:
        from .printing import finish, say

        violation = policy.at_exit(report, error)
        try:
            finish(self, report, error or violation, prints=prints)
        except Exception as fault:  # a report that cannot be shown never stops a program
            say(f"the report could not be shown: {fault!r}")
        if violation is not None:
            raise violation from None

    # -- the decorator -------------------------------------------------------------------------------------------------

    def __call__(self, function: F) -> F:
        """Guard every call of ``function``; ``function.guard.report`` is one report for all of them."""
        return decorated(self, self._call, function)

    @contextmanager
    def _call(self) -> Iterator[None]:
        with RUNNING.lock:
            within = bool(self._within)  # the block around it listens already
            if not within:
                if self._depth == 0:
                    try:
                        self._open()
                    except BaseException:
                        self._undo()
                        raise
                self._depth += 1
        policy = self._policy
        policy.enter()
        error: BaseException | None = None
        ended = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            policy.leave()
            with RUNNING.lock:
                self._depth -= not within
                if self._depth == 0 and not within:
                    ended = self._close(error)
            if ended is not None:
                self._finish(*ended, error)

    # -- while it is open ----------------------------------------------------------------------------------------------

    @property
    def report(self) -> Report:
        """What was seen: of the last run, or of the one under way so far.

        Raises:
            RuntimeError: if the guard was never open.
        """
        if self._report is not None:
            return self._report
        if self._collector is None:
            raise RuntimeError("nothing to report: this guard was never open")
        return HOUSEHOLD.collected(self, self.report_so_far(), self._collector)

    def report_so_far(self) -> Report:
        """What this process alone has seen until now."""
        return RUNNING.report_of(self, self.collector)

    def step(self) -> None:
        """One training step is over. Without it, the optimizer that has stepped most often counts."""
        RUNNING.step_by_hand()

    def check(self) -> Any:
        """Look at all shared memory now; the mutations found since the last ``check()``."""
        if self._collector is None or not self.is_open:
            raise RuntimeError("check() looks at live memory: call it while the guard is open")
        return RUNNING.check(self, self._collector, trail(sys._getframe(1)))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """This guard hears nothing inside; others go on."""
        if self._collector is None or not self.is_open:
            raise RuntimeError("paused() is for an open guard")
        collector = self._collector
        RUNNING.pause(collector)
        try:
            yield
        finally:
            RUNNING.resume(collector)

    @property
    def _policy(self) -> Policy:
        return cast("Policy", cast("Collector", self._collector).policy)

    def bites(self, finding: Finding) -> bool:
        """Whether a finding is to be mended, or a level of this guard asks for it."""
        return self._policy.bites(finding)

    @property
    def violation(self) -> GuardViolation | None:
        """What broke a level or a limit so far, raised or not; None where nothing did."""
        return self._policy.violation(self.report) if self._collector is not None else None

    @property
    def duration(self) -> float:
        """Seconds it was open."""
        return self._duration + (time.perf_counter() - self._started if self._started else 0.0)

    @property
    def started_at(self) -> str:
        """When it was first entered, ISO 8601."""
        return self._started_at

    @property
    def collector(self) -> Collector:
        """What it has counted, for those who need more than its report.

        Raises:
            RuntimeError: if it was never open.
        """
        if self._collector is None:
            raise RuntimeError("this guard was never open")
        return self._collector

    @property
    def is_open(self) -> bool:
        """Whether it watches now."""
        return bool(self._within) or self._depth > 0

    @property
    def is_outermost(self) -> bool:
        """Whether no other guard was open when it was entered."""
        return self._outermost

    @property
    def is_process_report(self) -> bool:
        """Whether it stands for a whole process."""
        return self._process_report


__all__ = ["guard"]
