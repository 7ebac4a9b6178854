"""What a process with a guard does for its children: tells them, and puts their parts into the guard's report.

While a guard is open, children learn of it by ``fork`` itself, by the data that ``multiprocessing`` starts them with,
or by the environment. When it is left its parts are read, and when the last one is left nothing remains but what they
hold.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import shutil
import tempfile
import threading
import weakref
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from .. import ranks
from ..report.model import Notice, Report
from ..running import RUNNING
from ..session import SESSION
from ..values import file_for, unwritable
from .child import Child
from .clock import CLOCK
from .family import NAME, Family, quiet, settings_of, starter
from .parts import Part, read, together
from .siblings import Siblings, meet

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..collector import Collector
    from ..guard import guard
    from ..options import Config

_Parts = dict[str, Part]


class Household:
    """One for the process: ``HOUSEHOLD``."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._family: Family | None = None
        self._made = False
        self._trouble = ""
        self._open: dict[guard, int] = {}
        """And when it was entered."""
        self._siblings: Siblings | None = None
        self.speaks = True
        """Whether the guard of this process shows its report: of several ranks one does it for all."""
        self._child: Child | None = None
        self._before: dict[str, str | None] = {}
        self._plain: Callable[..., Any] | None = None
        self._hooked: Callable[..., Any] | None = None
        self._parts: weakref.WeakKeyDictionary[Collector, _Parts] = weakref.WeakKeyDictionary()

    # -- guards come and go --------------------------------------------------------------------------------------------

    def opened(self, one: guard) -> None:
        """A guard was entered: from now on children follow it."""
        if one.is_process_report and self._child is None and self._siblings is None:
            self._siblings = meet(one)
        if not one.config.follow_children:
            return
        with self._lock:
            if self._family is None:
                self._begin(one.config)
            self._open[one] = perf_counter_ns()

    def collected(self, one: guard, report: Report, collector: Collector) -> Report:
        """The guard's report with what its children have reported so far."""
        since, family = self._open.get(one), self._family
        parts = self._parts.get(collector, {})
        if since is not None and family is not None:
            read(family.folder, since, parts)
            if parts:
                self._parts[collector] = parts
        if self._trouble:
            report = replace(report, notices=(*report.notices, Notice("TWG903", self._trouble)))
        if not parts:
            return report
        nothing = not report.findings and not report.run.steps and ranks.is_launcher()
        return together(None if nothing else report, parts.values())

    def closed(self, one: guard, report: Report, collector: Collector) -> Report:
        """A guard was left: its report with its children's parts. The last one leaves no trace."""
        try:
            own, report = report, self.collected(one, report, collector)
            if collector.policy is not None and self._parts.get(collector):
                collector.policy.judge_elsewhere(report.findings, own.findings)
            if one.is_process_report and self._siblings is not None:
                siblings, self._siblings = self._siblings, None
                report, self.speaks = siblings.gathered(report)
        except Exception as error:
            text = f"parts of child processes: {type(error).__name__}: {error}"
            report = replace(report, notices=(*report.notices, Notice("TWG901", text)))
        self.forget(one)
        return report

    def forget(self, one: guard) -> None:
        """A guard is not open any more; what goes wrong here is nobody's business."""
        with self._lock, contextlib.suppress(Exception):
            self._open.pop(one, None)
            if not self._open and self._child is None:
                self._end()

    # -- the family ----------------------------------------------------------------------------------------------------

    def _begin(self, config: Config) -> None:
        name = os.urandom(4).hex()
        asked = config.json is not None and _is_plain_file(file_for(config.json))
        if asked and config.json is not None:
            folder = f"{os.path.abspath(file_for(config.json))}.parts-{name}"
        else:
            try:
                folder = os.path.join(tempfile.gettempdir(), f"tensorwatch-guard-{os.getpid()}-{name}")
            except OSError as error:  # no temporary directory can be written to
                self._trouble = f"child processes are not followed: {error}"
                return
        self._trouble = unwritable(folder)
        if self._trouble:
            self._trouble = f"child processes are not followed: {self._trouble}"
            return
        switch = os.environ.get("TENSORWATCH_GUARD")
        owner, host = os.getpid(), platform.node()
        self._family = Family(folder, owner, host, asked, (owner,), settings_of(config), switch, ranks.rank())
        self._before = {variable: os.environ.get(variable) for variable in self._family.environment()}
        self._hook()
        self._tell()

    def make_room(self) -> None:
        """A child is about to be made that can put its part there."""
        if self._family is not None and not self._made:
            self._made = True
            os.makedirs(self._family.folder, mode=0o700, exist_ok=True)

    def _end(self) -> None:
        family, self._family, self._made = self._family, None, False
        self._unhook()
        if family is None:
            return
        for variable, ours in family.environment().items():
            if variable == NAME or os.environ.get(variable) == ours:
                _put(variable, self._before.get(variable))
        if os.path.isdir(family.folder):
            shutil.rmtree(family.folder, ignore_errors=True)

    def _tell(self) -> None:
        """Children started from now on are told to follow."""
        if self._family is None:
            return
        for variable, text in self._family.environment().items():
            if os.environ.get(variable) != text:
                os.environ[variable] = text

    def abandon(self) -> None:
        """The process ends with a guard still open: its folder is nobody's. That of the whole process is left later."""
        with self._lock:
            if any(one.is_process_report for one in self._open):
                return
            if self._family is not None and self._child is None and self._family.owner == os.getpid():
                self._open.clear()
                self._end()

    # -- children of multiprocessing -----------------------------------------------------------------------------------

    def _hook(self) -> None:
        import multiprocessing.spawn
        import multiprocessing.util

        spawn: Any = multiprocessing.spawn
        plain = spawn.get_preparation_data

        def get_preparation_data(name: str) -> Any:
            data = plain(name)
            family = self._family
            if family is not None and isinstance(data, dict):
                self.make_room()
                data["tensorwatch_guard"] = _Text(starter(replace(family, rank=ranks.rank())))
            return data

        self._plain, self._hooked = plain, get_preparation_data
        spawn.get_preparation_data = get_preparation_data
        _prepare_for_fork()

    def _unhook(self) -> None:
        import multiprocessing.spawn

        spawn: Any = multiprocessing.spawn
        if self._hooked is not None and spawn.get_preparation_data is self._hooked:
            spawn.get_preparation_data = self._plain
        self._plain = self._hooked = None

    # -- being a child -------------------------------------------------------------------------------------------------

    def join(self, family: Family, config: Config) -> None:
        """This process was started by a guarded one: follow it."""
        self._follow(family, config, forked=False)
        self._hook()

    def after_fork(self) -> None:
        """In a forked child: start with empty counts, as a part of the family if a guard listened."""
        if not RUNNING.in_place:
            return
        self._lock = threading.RLock()
        CLOCK.clear()
        family, following = self._family, [one for one in self._open if one.collector in RUNNING.heard]
        was_child, self._child, self._family = self._child is not None, None, None
        self._open, self._siblings = {}, None
        self._parts = weakref.WeakKeyDictionary()
        RUNNING.after_fork()
        if family is None or family.is_over() or not (following or was_child):
            RUNNING.give_up()
            return
        settings = settings_of(following[0].config) if following else family.settings
        self._follow(family, quiet(settings), forked=True)

    def _follow(self, family: Family, config: Config, *, forked: bool) -> None:
        if forked:  # what is known of ranks here is still the parent's
            family = replace(family, rank=ranks.rank())
        self._family = replace(family, line=(*family.line, os.getpid()), rank=ranks.rank())
        self._made = True
        self._child = Child(family, forked=forked)
        self._child.start(config)
        self._tell()

    def after_multiprocessing_fork(self) -> None:
        """``multiprocessing`` has cleared its finalizers in a forked child."""
        if self._child is not None:
            self._child.finish_with_multiprocessing()


class _Text:
    """Runs a text when it is unpickled, by a function that every Python has: no child needs this package for it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, dict[str, Any]]]:
        return exec, (self._text, {})


def _put(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _is_plain_file(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)


_prepared = False


def _prepare_for_fork() -> None:
    """Once in a process: neither can be taken back, and both do nothing where no guard is open."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    from multiprocessing.util import register_after_fork

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_about_to_fork, after_in_child=_in_forked_child)
    register_after_fork(HOUSEHOLD, Household.after_multiprocessing_fork)
    atexit.register(HOUSEHOLD.abandon)


def _about_to_fork() -> None:
    try:
        HOUSEHOLD.make_room()
    except Exception as error:
        SESSION.fault("parts of child processes", error)


def _in_forked_child() -> None:
    try:
        HOUSEHOLD.after_fork()
    except Exception as error:  # in the user's process: it runs on, unfollowed
        from ..environment import say

        say(f"process {os.getpid()} is not followed: {error!r}")


HOUSEHOLD: Final = Household()
