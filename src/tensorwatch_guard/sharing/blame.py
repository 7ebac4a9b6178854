"""Whose line it was: from all threads' lines to one, or to the few that are left.

A thread is let off only on proof. Processor times are read before and after the snapshots are renewed: what did not run
from before the last renewal until after this one cannot have written in between.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tensorwatch_guard.sites import FILES, OWN, TORCH

from . import suspects
from .at_once import other_frames
from .suspects import Record, Suspect

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tensorwatch_guard.words import Place


class _Other(NamedTuple):
    suspect: Suspect
    waits: bool
    followed: bool


class Verdict(NamedTuple):
    """What is left of the suspects: one and proven, or several."""

    suspects: tuple[Suspect, ...]
    exact: bool

    def places(self) -> tuple[Place, ...]:
        """The suspected lines, each once, in order."""
        found = {(p.file, p.line): p for p in (suspect.place() for suspect in self.suspects) if p is not None}
        return tuple(found[key] for key in sorted(found))


class Lineup:
    """Lines the threads up before a look and judges after it. Remembers processor times and earlier suspects.

    ``record`` gives the line a thread has been in since it last compared, None for one never heard of; ``untraced`` the
    idents of threads that are not followed.
    """

    def __init__(self, record: Callable[[int], Record | None], untraced: Callable[[], set[int]]) -> None:
        self._record = record
        self._untraced = untraced
        self._last: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self._others: list[_Other] = []
        self._strangers: set[int] = set()
        self._ended = False
        self._tally: dict[int, Counter[tuple[str, int]]] = {}

    def start(self) -> None:
        """Nothing is watched yet: what ran up to now is innocent."""
        self._last = suspects.processor_times()
        self._strangers = self._untraced() & other_frames().keys()
        self._ended = False
        self._tally.clear()

    def line_up(self) -> None:
        """Note every other thread's line. Before the snapshots are renewed: after that a writer may walk on."""
        self._before = suspects.processor_times()
        untraced = self._untraced()
        frames = other_frames()
        self._ended = not self._strangers <= frames.keys()
        self._strangers = untraced & frames.keys()
        self._others = [
            self._seen(ident, frame, ident in untraced) for ident, frame in frames.items() if not suspects.only_reads(frame)
        ]

    def _seen(self, ident: int, frame: FrameType, unfollowed: bool) -> _Other:
        record = None if unfollowed else self._record(ident)
        if record is None or record[0] is None:
            record = suspects.line_of(ident)
        suspect = Suspect(*record, ident) if record[0] is not None else suspects.helper_line(frame, ident)
        return _Other(suspect, not unfollowed and suspects.waits(frame), not unfollowed)

    def renewed(self) -> None:
        """The snapshots are new; from here on counts what is run after the line-up."""
        self._last = self._before

    def judge(self, me: Suspect) -> Verdict:
        """Who is left, ``me`` first: the line the comparing thread was in. To be asked before ``renewed``."""
        after = suspects.processor_times()
        if me.code is None:
            me = suspects.helper_line(sys._getframe(), me.thread)
        left = [me] if me.could() else []
        sure = not self._ended  # a thread nobody followed may have written last thing
        for suspect, waits, followed in self._others:
            time = after.get(suspect.thread)
            known = time is not None
            if known and time == self._last.get(suspect.thread):
                continue  # it has not run since the last look
            if waits and (not known or time == self._before.get(suspect.thread)):
                continue
            if followed and not suspect.could():
                continue
            sure = sure and followed
            left.append(suspect)
        if not left:  # a native thread, or an owner that lied: say where it was seen, claim nothing
            return Verdict((me,), exact=False)
        return Verdict(tuple(left), exact=sure and len(left) == 1 and left[0].is_users())

    def guess(self, key: int, verdict: Verdict) -> Suspect:
        """The likeliest of several: the line most often suspected of writing to this memory. A guess only."""
        tally = self._tally.setdefault(key, Counter())
        named = {suspect: suspect.spot() for suspect in verdict.suspects}
        tally.update(set(named.values()))
        return max(verdict.suspects, key=lambda suspect: tally[named[suspect]])


def is_foreign(error: Exception) -> bool:
    """Whether an exception came out of a signal handler or from another thread, and so belongs to the user."""
    if type(error).__module__ not in {"builtins", "ctypes", "torch"}:
        return True
    step = error.__traceback__
    while step is not None:
        if FILES[step.tb_frame.f_code.co_filename] not in {OWN, TORCH}:
            return True
        step = step.tb_next
    return False
