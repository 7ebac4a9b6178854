"""A process that follows its parent's guard: it counts from nothing, and writes a part file on the way and at its end.

The ways to end differ: children of ``multiprocessing`` run its finalizers and no ``atexit``, others the reverse, and
a process that is killed or calls ``os._exit`` runs neither. So the part is written by the events themselves, too:
after each new place as far as a tenth of the time allows, else so often that it takes a hundredth of it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import sys
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from ..reporting import UNFINISHED
from ..running import RUNNING
from .clock import CLOCK, SECOND
from .parts import BEGAN, part_name, worth_keeping
from .roles import role

if TYPE_CHECKING:
    from ..collector import Collector
    from ..guard import guard
    from ..options import Config
    from .family import Family

_SHORTEST: Final = SECOND // 20
_LONGEST: Final = 3 * SECOND
_SHARE: Final = 100
_SHARE_OF_NEWS: Final = 10


class Child:
    """The part of this process in its family."""

    def __init__(self, family: Family, *, forked: bool) -> None:
        self.family = family
        self._forked = forked
        self._pid = os.getpid()
        self._path = os.path.join(family.folder, part_name(family.line, perf_counter_ns()))
        self._began = f"{self._path.removesuffix('json')}{BEGAN}"
        self._guard: guard | None = None
        self._cost = SECOND // 500
        self._wrote_at = perf_counter_ns()
        self._aborted = False
        self._role = ""
        self._has_begun = False
        self._failed = False

    def start(self, config: Config) -> None:
        """Count from now on."""
        from ..guard import guard

        os.makedirs(self.family.folder, mode=0o700, exist_ok=True)
        self._guard = guard.from_config(config, process_report=True)
        self._guard.start()
        self._collector.on_new = self._news
        CLOCK.put(self, _SHORTEST, self._on_the_way)
        atexit.register(self.finish)
        if "multiprocessing.util" in sys.modules:  # fork: multiprocessing clears this and calls ``after_fork`` again
            self.finish_with_multiprocessing()

    def finish_with_multiprocessing(self) -> None:
        """Its children end without ``atexit``: they run finalizers."""
        from multiprocessing.util import Finalize

        Finalize(None, self.finish, exitpriority=0)

    @property
    def _collector(self) -> Collector:
        collector: Collector | None = self._guard._collector if self._guard is not None else None
        if collector is None:
            raise RuntimeError("not started")
        return collector

    # -- on the way ----------------------------------------------------------------------------------------------------

    def _news(self) -> None:
        """A place was seen for the first time: worth more of the time than another count."""
        if not self._has_begun:
            self._has_begun = True
            with contextlib.suppress(OSError), open(self._began, "w"):
                pass  # whoever finds it without a part knows that something is missing
        CLOCK.hurry(self, self._wrote_at + _SHARE_OF_NEWS * self._cost)

    def _on_the_way(self) -> int:
        if not self.family.is_over() and not self._failed:
            self._write(last=False)
            return max(_SHORTEST, min(_SHARE * self._cost, _LONGEST))
        return 0  # the guard is over: nobody will read it

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The process ends in order. May be called more than once: user code can run between the ends of things."""
        if os.getpid() != self._pid or self._guard is None or self._failed:
            return
        self._aborted |= _is_failing()
        try:
            if not self.family.is_over():
                RUNNING.before_close(self._guard, self._collector, None)
                self._write(last=True)
                self._has_spoken()
                self._tell_orphan()
        except Exception as error:
            self._fail(error)

    def _write(self, *, last: bool) -> None:
        started = perf_counter_ns()
        try:
            self._dump(last=last)
        except Exception as error:
            self._fail(error)
        self._wrote_at = perf_counter_ns()
        self._cost = max(self._wrote_at - started, 1)

    def _dump(self, *, last: bool) -> None:
        if self._guard is None:
            return
        report = RUNNING.report_of(self._guard, self._collector)
        if not worth_keeping(report):
            return
        name = role(self.family.rank, forked=self._forked)
        self._role = name if name.startswith("dataloader") or not self._role.startswith("dataloader") else self._role
        extra: dict[str, Any] = {"role": self._role, "parent_pid": self.family.owner}
        if not last:
            extra[UNFINISHED] = True
        run = replace(report.run, aborted=self._aborted, extra={**report.run.extra, **extra})
        report = replace(report, run=run)
        report.dump(self._path)
        self._has_spoken()
        if last and self._guard.config.json is not None:  # a file of its own, by %r or %p
            from ..values import file_for

            report.dump(file_for(self._guard.config.json))

    def _has_spoken(self) -> None:
        with contextlib.suppress(OSError):  # it is gone already, or the whole folder is
            os.unlink(self._began)

    def _tell_orphan(self) -> None:
        """The guarding process is gone: nobody will collect the parts, so the user is told where they are."""
        family = self.family
        if family.host != platform.node() or family.owner_is_alive():
            return
        try:
            os.close(os.open(os.path.join(family.folder, "told"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except OSError:  # another child has said it
            return
        from ..environment import say

        say(
            f"process {family.owner} ended without its report; what its children saw: "
            f"tensorwatch-guard report {family.folder}"
        )

    def _fail(self, error: Exception) -> None:
        """Without a part this process is missing in the report, and that has to be said somewhere."""
        if not self._failed:
            self._failed = True
            from ..environment import say

            say(f"process {os.getpid()} will be missing in the report: {error}")


def _is_failing() -> bool:
    """Whether an exception ends this process; an exit with a code that says failure is one."""
    error = sys.exc_info()[1] or getattr(sys, "last_value", None)
    if isinstance(error, SystemExit):
        return error.code not in (None, 0)  # no set: any object may be a code, also one without a hash
    return error is not None
