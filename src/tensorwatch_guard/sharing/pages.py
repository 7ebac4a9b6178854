"""The pages road: the exact line, thread and byte of a write, because the kernel stops the writer until its
stack is read.

Whole pages only (:func:`edges` leaves the rest to the lines road), so no stranger ever waits. Sees what no line
can: writes by native threads, and by the kernel (``readinto``). Needs root, CAP_SYS_PTRACE, /dev/userfaultfd or
the sysctl; costs nothing until somebody writes, then about 0.2 ms. If the supervisor dies, the kernel lets
everybody go on and the watch is over.

A write by the kernel has its line only where a waiting signal cannot change the system call's result: reads of
files, pipes and sockets. Others (``/dev/urandom``, ``MSG_WAITALL``, an ``ioctl``) are let through at once and
told without a line.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import threading
import time
import weakref
from collections import Counter, deque
from typing import Final, NamedTuple

from tensorwatch_guard.words import Write

from . import page_log, written
from .detached import adoption_refusal
from .kernel import edges, synchronous_refusal
from .page_writes import Libraries, Threads, blame
from .supervised import Supervised, Unanswered, free_signals, interpreter_refusal

__all__ = ["EVENTS_A_SITE", "PageFollower", "edges", "road"]

EVENTS_A_SITE: Final = 20
"""Writes told for one piece of memory and one line; more are only counted."""
_LONGEST_REST: Final = 15

_everyone: Final[weakref.WeakSet[PageFollower]] = weakref.WeakSet()
_refused: list[str] = []


class _Watched(NamedTuple):
    key: int
    serial: int
    address: int
    start: int
    end: int


def road() -> tuple[bool, str]:
    """Whether the pages road is open in this process, and why (not). Opens and closes a descriptor, starts nothing."""
    why = synchronous_refusal() or adoption_refusal() or interpreter_refusal() or (_refused[-1] if _refused else None)
    if why is None and free_signals() is None:
        why = "no two real-time signals are free"
    return why is None, why or "open"


class PageFollower:
    """Watches memory for writes by anybody in this process. One supervisor process, started with the first
    watch.

    ``why`` says in words why nothing is watched (None while all is well). ``more`` counts writes beyond the
    first twenty of a line, by (key, file, line): at least so many, since memory that one line keeps writing is
    watched ever less often.
    """

    def __init__(self) -> None:
        self.why: str | None = None
        self.more: Counter[tuple[int, str, int]] = Counter()
        self.lost = 0
        self._helper: Supervised | None = None
        self._lock = threading.RLock()
        self._serials = itertools.count(1)
        self._keys: dict[int, _Watched] = {}
        self._watches: dict[int, _Watched] = {}
        self._ended: dict[int, int] = {}
        self._told: dict[int, Counter[tuple[str, int]]] = {}
        self._rests: dict[int, int] = {}
        self._turns: dict[int, int] = {}
        self._left: deque[Write] = deque()
        self._libraries = Libraries()
        self._threads = Threads()
        self._nothing = memoryview(bytes(8))
        self._seen = 0
        self._offset = page_log.HEADER
        _everyone.add(self)

    def watch(self, key: int, address: int, nbytes: int) -> tuple[tuple[int, int] | None, list[tuple[int, int]]]:
        """Watch ``nbytes`` bytes at ``address`` from now on, under ``key`` (again: in place of what it was).

        Returns:
            The whole pages ``(start, length)`` that are watched, or None, and the pieces ``(address, length)``
            that are not: the edges, or all of it where the memory has no page of its own, is a file's, or the
            road is closed (``why``).
        """
        self.unwatch(key)
        whole, pieces = edges(address, nbytes)
        helper = self._ready() if whole is not None else None
        if whole is None or helper is None:
            return None, [(address, nbytes)] if nbytes > 0 else []
        self._told.pop(key, None)
        watched = _Watched(key, next(self._serials), address, whole[0], whole[0] + whole[1])
        self._keys[key] = self._watches[watched.serial] = watched
        written.lend(watched.start, watched.end)
        self._threads.look()
        try:
            with self._lock:
                helper.request("watch", watched.serial, watched.start, watched.end)
        except (OSError, Unanswered) as error:
            self._forget(watched)
            written.take_back(watched.start, watched.end)
            if isinstance(error, Unanswered):
                self._over(str(error))
            return None, [(address, nbytes)]
        return whole, pieces

    def unwatch(self, key: int) -> None:
        """End a watch. On any thread at any moment, weak references' call-backs too: no lock, no waiting."""
        watched = self._keys.pop(key, None)
        helper = self._helper
        if watched is None:
            return
        self._ended[watched.serial] = time.monotonic_ns()
        if helper is not None:
            helper.tell("unwatch", watched.serial)
        written.take_back(watched.start, watched.end)

    def collect(self) -> list[Write]:
        """The writes since the last call, in the order of their first bytes; what was written is watched again.

        ``first`` is the offset of the first byte met, ``last`` the one behind it: where a write ends is not
        known, so whoever holds the contents compares. ``before`` and ``after`` are None.
        """
        helper = self._helper
        if helper is not None:
            ended = list(self._ended)
            if helper.begun != self._seen or not helper.alive():
                with self._lock:
                    self._fetch(helper)
            self._tidy(ended)
            if self._turns and self._helper is helper:
                self._count_turns(helper)
        found = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._left.popleft())
        return found

    def rearm(self) -> None:
        """Watch everything again, also what rests because one line keeps writing it."""
        helper = self._helper
        self._rests.clear()
        self._turns.clear()
        if helper is not None:
            self._order(helper, "rearm")

    @property
    def supervisor(self) -> int | None:
        """The supervisor's process number, None while none runs."""
        helper = self._helper
        return None if helper is None else helper.process

    def new_event_view(self) -> memoryview:
        """Eight bytes that change the moment somebody writes; eight that never do while nothing is watched."""
        helper = self._helper
        return self._nothing if helper is None else helper.begun_view

    def close(self) -> None:
        """Watch nothing any more, stop the supervisor, give the signals back. What was not collected still can be."""
        helper, self._helper = self._helper, None
        if helper is not None:
            with self._lock:
                self._fetch(helper)
                helper.close()
        self._forget_all()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    # ---- inside

    def _ready(self) -> Supervised | None:
        if self._helper is not None or self.why is not None:
            return self._helper
        with self._lock:
            if self._helper is None:
                opened, why = road()
                if not opened:
                    self.why = why
                    return None
                try:
                    self._helper = Supervised()
                except (OSError, Unanswered) as error:
                    self.why = str(error)
                    _refused.append(self.why)
                    return None
                self._seen = self._helper.begun
                self._offset = page_log.HEADER
        return self._helper

    def _fetch(self, helper: Supervised) -> None:
        """Read the log to its end. A fault whose stack is still to come keeps ``_seen`` behind."""
        begun = helper.begun
        over = None
        self._threads.look()
        try:
            start, end = helper.request("collect", self._offset)
        except (OSError, Unanswered) as error:  # its log is still there
            start, end, over = self._offset, page_log.ROOM, str(error)
        for record in page_log.unpacked(helper.read(start, end)) if start == self._offset else ():
            write = self._write(record)
            if write is not None:
                self._left.append(write)
        self._offset = end
        self.lost = helper.lost
        if helper.written >= begun:
            self._seen = begun
        if over is not None:
            self._over(over)

    def _write(self, record: page_log.Record) -> Write | None:
        watched = self._watches.get(record.serial)
        if watched is None or record.began > self._ended.get(record.serial, record.began):
            return None  # written by whoever has that memory now
        place, thread, exact, suspects = blame(record, self._threads)
        if place is not None:
            told = self._told.setdefault(watched.key, Counter())
            told[place.file, place.line] += 1
            if told[place.file, place.line] > EVENTS_A_SITE:
                self.more[watched.key, place.file, place.line] += 1
                self._rest(watched.serial)
                return None
        self._wake(watched.serial)
        first = record.address - watched.address
        writer = self._libraries.writer(record)
        return Write(watched.key, first, first + 1, None, None, place, thread, writer, exact, suspects, "pages")

    def _rest(self, serial: int) -> None:
        """Only counted from here on, so watched in ever fewer turns: 1 of 2, 4, 8, at last 16."""
        turns = min(2 * self._rests.get(serial, 0) + 1, _LONGEST_REST)
        if serial not in self._rests and self._helper is not None:
            self._helper.tell("rest", serial, 1)
        self._rests[serial] = self._turns[serial] = turns

    def _wake(self, serial: int) -> None:
        self._turns.pop(serial, None)
        if self._rests.pop(serial, None) is not None and self._helper is not None:
            self._helper.tell("rest", serial, 0)
            self._helper.tell("arm", serial)

    def _count_turns(self, helper: Supervised) -> None:
        for serial, turns in list(self._turns.items()):
            if turns > 0:
                self._turns[serial] = turns - 1
            else:
                self._turns.pop(serial, None)
                self._order(helper, "arm", serial)

    def _order(self, helper: Supervised, verb: str, *arguments: int) -> None:
        """Have something done before going on; a supervisor that cannot do it any more is over."""
        with self._lock:
            try:
                helper.request(verb, *arguments)
            except (OSError, Unanswered) as error:
                self._over(str(error))

    def _tidy(self, ended: list[int]) -> None:
        """Forget watches that had ended before the log was read; it may hold writes of those that ended meanwhile."""
        for serial in ended:
            watched = self._watches.get(serial)
            if watched is not None:
                self._forget(watched)

    def _forget(self, watched: _Watched) -> None:
        if self._keys.get(watched.key) is watched:
            del self._keys[watched.key]
        if watched.key not in self._keys:
            self._told.pop(watched.key, None)
        self._watches.pop(watched.serial, None)
        self._ended.pop(watched.serial, None)
        self._rests.pop(watched.serial, None)
        self._turns.pop(watched.serial, None)

    def _forget_all(self) -> None:
        for watched in list(self._keys.values()):
            written.take_back(watched.start, watched.end)
        for record in (self._keys, self._watches, self._ended, self._rests, self._turns):
            record.clear()

    def _over(self, why: str) -> None:
        """The supervisor is gone, and all protection with it."""
        self.why = why
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.close(orderly=False)
        self._forget_all()

    def _in_child(self) -> None:
        """In a forked process: its memory is watched by nobody, and the parent's supervisor is none of its business."""
        self._lock = threading.RLock()
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.leave()
        self.why = "a forked process is not watched"
        self._forget_all()
        self._left.clear()
        self._told.clear()
        self.more.clear()


def _close_all() -> None:
    for follower in list(_everyone):
        follower.close()


def _leave_all() -> None:
    for follower in list(_everyone):
        follower._in_child()


# Signals that come after the interpreter has put its handlers back would end the program.
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
