"""What step the process is at: that of the optimizer that has stepped most often, unless somebody counts by hand.

Where that one is gone (a fold, a round, a trial is over) its steps stay counted, and the next ones begin anew.
"""

from __future__ import annotations

import weakref
from typing import Any


class Stepping:
    """One optimizer's steps, and how often it reads its own step counts in each: see ``probes/step_reads.py``."""

    __slots__ = ("alike", "count", "known", "left", "reads", "teaches")

    def __init__(self) -> None:
        self.count = 0
        self.reads = -1
        """In the last step in which they were counted;"""
        self.alike = 0
        """so many before it had as many:"""
        self.left = 0
        """so many of the next are taken to have, too."""
        self.known = False
        """The one that runs is one of these."""
        self.teaches = True
        """Its reads say how many the next ones make."""


class Steps:
    """Counts steps. ``now`` is the number of the current one."""

    __slots__ = ("_by_hand", "_counts", "_floor", "_leader", "_most", "_stepping", "last", "now")

    def __init__(self) -> None:
        self.now = 0
        self._counts: weakref.WeakKeyDictionary[Any, Stepping] = weakref.WeakKeyDictionary()
        self.last: weakref.ref[Any] | None = None
        """The optimizer that stepped last."""
        self._leader: weakref.ref[Any] | None = None
        self._stepping = Stepping()
        """Of the last one, which is the next one mostly: a look-up in the dictionary costs more than all the rest."""
        self._by_hand = False
        self._most = 0
        self._floor = 0

    def of(self, optimizer: object) -> Stepping:
        """What is known of an optimizer's steps."""
        if self.last is None or self.last() is not optimizer:
            self._another(optimizer)
        return self._stepping

    def stepped(self, stepping: Stepping) -> None:
        """One of its steps is over."""
        stepping.count += 1
        if not self._by_hand and stepping.count > self._most:
            self._most = stepping.count
            self._leader = self.last
            self.now += 1

    def _another(self, optimizer: object) -> None:
        if optimizer not in self._counts:
            if self._leader is not None and self._leader() is None:
                self._counts.clear()
                self._most, self._leader = 0, None
            self._counts[optimizer] = Stepping()
        self._stepping = self._counts[optimizer]
        self.last = weakref.ref(optimizer)

    def stepped_by_hand(self) -> None:
        """``g.step()``: from now on only these count."""
        if not self._by_hand:
            self._by_hand = True
            self.now = self._floor
        self.now += 1

    def keep(self) -> None:
        """A guard is entered: the steps so far are behind it, however the next ones are counted."""
        self._floor = self.now

    def reset(self) -> None:
        """The last guard is closed: the next one starts afresh."""
        self._counts, self.last, self._leader = weakref.WeakKeyDictionary(), None, None
        self._by_hand = False
        self._most = 0
        self.keep()
