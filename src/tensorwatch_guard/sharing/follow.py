"""What both ways of following lines have in common: watched memory, the look after a line, the writes seen so far.

Rules that hold here: a line is *exact* only when it is the only one that can have written; no frame is kept; no
exception of ours leaves a trace function, and none of the user's (a signal handler's, say) stays in it.

Not seen, and said so in the report: a native thread that writes while Python lines run is blamed on one of those lines;
an equal value written, or a write undone within one line, changes nothing. On Python 3.11 ``ndarray.resize`` with its
reference check on raises ValueError while *any* trace function is set, coverage's or a debugger's too. The user's lines that
call it are not traced (``asides``); where a library's line does, it is a stated breach of neutrality.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Final

from tensorwatch_guard.words import Change, Write

from . import suspects
from .at_once import other_frames
from .blame import Lineup, is_foreign
from .pieces import STAYS, Pieces
from .seen_writes import SeenWrites
from .skip import hide_from_dynamo
from .suspects import NOWHERE, Record, Suspect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

    from tensorwatch_guard.words import Place, WrittenBy

    from .blame import Verdict
    from .pieces import Difference
    from .versions import Versions

PATIENCE: Final = 2.0
"""Seconds a thread waits for another's look. Longer means a deadlock with a lock of the user's: following then ends."""
_ERRORS: Final = 20
_FINE_LINES: Final = 256


class LineFollower:
    """Follows the user's lines and compares watched memory after each. One at a time in a process; see ``lines.make``.

    ``why`` says in words why it does not run; ``also`` is called, by any thread, when something has changed and before
    anybody is blamed (other evidence, such as the page log, is looked at there); ``more`` counts the writes beyond the
    first twenty of a line, by (key, file, line); ``errors`` holds what went wrong inside.
    """

    def __init__(self) -> None:
        self.why: str | None = None
        self.also: Callable[[], None] | None = None
        self.writer_of: Callable[[Change, CodeType | None, Mapping[int, int]], WrittenBy | None] | None = None
        """Asked right after a write, with what was written, the code of its line, and how often each piece's owner is held by
        this very look. None where nobody else has the memory. Must take no lock."""
        self._seen = SeenWrites()
        self.more = self._seen.more
        self.errors: list[str] = []
        self._pieces = Pieces()
        self._lineup = Lineup(self._record, self._untraced)
        self._spots: dict[int, dict[int, CodeType]] = {}
        """Lines that were to blame, by number, then by id of their code: their instructions are followed singly."""
        self._lost_slot = False
        self._entered = False
        _followers.add(self)

    def watch(
        self,
        key: int,
        address: int,
        nbytes: int,
        hold: Callable[[], object | None],
        offset: int = 0,
        grain: int = 1,
        moves: int = STAYS,
    ) -> bool:
        """Compare ``nbytes`` at ``address`` after every line of the user's from now on.

        Args:
            key: what the memory is called in ``Write.key``; a key may have several pieces.
            address: its first byte.
            nbytes: its length in bytes.
            hold: gives a strong reference to what keeps the memory alive, None when that is gone or has moved. It is
                called in the middle of a look and must take no lock.
            offset: where this piece begins in the region that ``Write.first`` and ``Write.last`` count in, bytes.
            grain: bytes of one element: writes are told in whole elements.
            moves: whether the memory may go while its owner lives, see ``pieces.MOVES``.

        Returns:
            False when lines cannot be followed (``why`` says why) or the memory is gone.
        """
        pieces = self._pieces
        if not pieces.enter(PATIENCE):
            return False
        try:
            return (self.running or self._begin()) and pieces.add(key, offset, address, nbytes, hold, grain, moves)
        finally:
            pieces.leave()
            self._settle()

    def put(self, key: int, view: memoryview) -> bool:
        """Have a few bytes more compared, such as the end of the page log. Their change calls ``also``, no more."""
        if not self._pieces.enter(PATIENCE):
            return False
        try:
            return self._pieces.put(key, view)
        finally:
            self._pieces.leave()
            self._settle()

    def ask_first(self, versions: Versions | None) -> None:
        """Have these asked ahead of each comparison, or nobody."""
        self._pieces.ask_first(versions)

    def drop(self, key: int) -> None:
        """Compare the memory of ``key`` no more, from this very comparison on: it is gone."""
        self._pieces.remove(key)

    def unwatch(self, key: int) -> None:
        """Read the memory of ``key`` no more. At any moment, from any thread, in weak reference callbacks too."""
        self._look(patience=0)
        self._pieces.remove(key)
        self._settle()

    def collect(self) -> list[Write]:
        """The writes seen since the last call, oldest first."""
        self._look(PATIENCE)
        return self._seen.collect()

    def stop(self) -> None:
        """End following. Threads that cannot be reached from here let go at their next line."""
        self._look(patience=0)
        self._end()

    @property
    def running(self) -> bool:
        """Whether lines are followed."""
        return self._entered and not self._pieces.resting

    @property
    def stolen(self) -> bool:
        """True once a debugger or the like has taken the slot: from then on every write is inexact."""
        self._lost_slot = self._lost_slot or (self.running and self._lost())
        return self._lost_slot

    @property
    def untraced_threads(self) -> tuple[str, ...]:
        """Names of the threads whose lines are not followed."""
        if not self.running:
            return ()
        running = {get_ident(), *other_frames()} & self._untraced()
        return tuple(suspects.thread_name(ident) for ident in sorted(running))

    # What a way of following provides

    def _enter(self) -> bool:
        """Start following; False and ``why`` when that is not possible."""
        raise NotImplementedError

    def _leave(self) -> None:
        """End following in the threads that can be reached."""
        raise NotImplementedError

    def _record(self, thread: int) -> Record | None:
        raise NotImplementedError

    def _untraced(self) -> set[int]:
        raise NotImplementedError

    def _lost(self) -> bool:
        """Whether somebody else holds what this follower needs."""
        raise NotImplementedError

    def _stood_aside(self) -> bool:
        """Whether this thread was not followed in the lines it has just been in."""
        return False

    def _refine(self, code: CodeType, line: int) -> None:
        """From now on follow the single instructions of this line."""

    # Common ground

    def _begin(self) -> bool:
        hide_from_dynamo(type(self))
        _switch_off_in_children()
        global _at_work
        self.why = _unfit() or self._gave_up()
        if _at_work is not None and _at_work.running:
            self.why = "another follower of this package is at work"
        if self.why is not None:
            return False
        if self._entered:  # ended, but not yet left
            self._clean_up()
        self._lost_slot = False
        self._pieces.wake()
        _at_work = self
        self._entered = True
        if not self._enter():
            self._entered = False
            self._pieces.rest()
            return False
        self._lineup.start()
        return True

    def _end(self) -> None:
        self._pieces.rest()
        self._settle()

    def _settle(self) -> None:
        """Leave, if following has ended or nothing is left to follow. Whoever comes out of the pieces settles last."""
        pieces = self._pieces
        while self._entered and (pieces.resting or not pieces) and pieces.enter(patience=0):
            try:
                if self._entered and (pieces.resting or not pieces):
                    self._clean_up()
            finally:
                pieces.leave()

    def _clean_up(self) -> None:
        self._pieces.rest()
        self._pieces.clear()
        self._entered = False
        self._leave()

    def _gave_up(self) -> str | None:
        if len(self.errors) < _ERRORS:
            return None
        return f"line following gave up after {len(self.errors)} errors of its own, the last was {self.errors[-1]}"

    def _look(self, patience: float) -> None:
        """Compare now, outside a trace function, and blame what runs in this thread."""
        pieces = self._pieces
        if self.running and pieces.snapshots != pieces.live:
            record = NOWHERE if self.stolen else self._record(get_ident())
            self._hit(*(record or _standing()), patience=patience)

    def _hit(self, code: CodeType | None, line: int, lasti: int, patience: float = PATIENCE) -> bool:
        """Something differs: find out what, and blame it on the line this thread has been in until now.

        Returns:
            False when there is no use in looking again, should something still differ.
        """
        try:
            if not self.running:
                return False
            if self.also is not None:
                self.also()
            owners = self._blame(Suspect(code, line, lasti, get_ident()), patience)
            return owners is not None  # and let go here, after the lock: their end may run anything
        except Exception as error:
            if is_foreign(error):
                raise
            self.errors.append(f"{type(error).__name__}: {error}")
            if self._gave_up():
                with contextlib.suppress(Exception):  # then not even its end works
                    self._end()
            return False

    def _blame(self, me: Suspect, patience: float) -> list[object] | None:
        pieces = self._pieces
        if not pieces.enter(patience):
            if patience and not pieces.within():
                self._despair()
            return None
        try:
            pieces.halt()  # a thread lined up in one line must not be able to write in the next
            self._lineup.line_up()
            found, owners = pieces.take()
            if found:
                self._write(found, self._lineup.judge(me))
            self._lineup.renewed()
            return owners
        finally:
            pieces.resume()
            pieces.leave()
            self._settle()

    def _despair(self) -> None:
        """Somebody's look has not come to its end: rather no line than a program that waits at every line."""
        self.why = f"a look at the memory took longer than {PATIENCE:g} s"
        self._pieces.forget_lock()
        self._end()

    def _write(self, found: list[Difference], verdict: Verdict) -> None:
        exact = verdict.exact and not self.stolen and not self._stood_aside()
        among = () if exact or self.stolen else verdict.places()
        for key, first, last, before, after in found:
            culprit = self._lineup.guess(key, verdict)
            spot = (key, *culprit.spot())
            if not self._seen.takes(spot):
                continue
            place: Place | None = None
            thread, sequence = "", None
            if not self.stolen:
                place, thread = culprit.place(), suspects.thread_name(culprit.thread)
            if exact and culprit.thread == get_ident():
                sequence = _sequence()
            asked = self._writer(Change(key, first, last, before, after), culprit.code)
            writer, known_to = asked or ("unknown", None)
            self._seen.add(
                Write(
                    key, first, last, before, after, place, thread, writer, exact, among, "lines", sequence,
                    asked is None, known_to, ident=culprit.thread,
                )
            )
            self._want_columns(culprit.code, culprit.line)

    def _writer(self, change: Change, code: CodeType | None) -> WrittenBy | None:
        try:
            return self.writer_of(change, code, self._pieces.held) if self.writer_of is not None else ("unknown", None)
        except Exception as error:  # the write itself must not be lost
            if is_foreign(error):
                raise
            return "unknown", None

    def _want_columns(self, code: CodeType | None, line: int) -> None:
        if code is None or len(self._spots) >= _FINE_LINES:
            return
        codes = self._spots.setdefault(line, {})
        if id(code) not in codes:
            codes[id(code)] = code
            self._refine(code, line)

    def _abandon(self) -> None:
        """In a forked child: nobody follows here, and no lock is held by a thread that does not exist."""
        self._pieces.forget_lock()
        self.also = None
        self._seen.clear()
        self._end()


_followers: weakref.WeakSet[LineFollower] = weakref.WeakSet()
_at_work: LineFollower | None = None
_children_covered = False


def _switch_off_in_children() -> None:
    global _children_covered
    if not _children_covered and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)
        _children_covered = True


def _in_child() -> None:
    for follower in list(_followers):
        follower._abandon()


def _unfit() -> str | None:
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "this Python runs without the interpreter lock"
    return None


def _standing() -> Record:
    """The user's line this thread stands on, for a thread that was never heard of."""
    frame = suspects.user_frame(sys._getframe(1))
    return (frame.f_code, frame.f_lineno or 0, -1) if frame is not None else NOWHERE


def _sequence() -> int | None:
    """Autograd's sequence number of this thread, if torch is there."""
    if "torch" not in sys.modules:
        return None
    from .graph import sequence_number  # a session has loaded it long since

    number = sequence_number()
    return number if number >= 0 else None
