"""How often boundaries look, in a program whose steps are short.

A look with all that belongs to it takes some ten microseconds. A step of a small model takes a thousand, and has six
boundaries: looking at each would cost more than looking may cost. So boundaries rest when their share of time is used up,
until something was found. The one before a backward comes first: what it misses is a wrong gradient.

A loop that writes shared memory in each turn would keep them awake for good. Once its lines are known and nothing new was
found for a while they rest again, and what they then see is known, see ``Escalation.knows``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

from .moments import tick

NEVER: Final = 1 << 63
PART: Final = 0.25
"""Of the share of time that looking may take: memory at hand, large memory and graphs are looked at, too."""
START_NS: Final = 25_000_000
"""What may be spent before anything is saved up: a short program is looked at in full."""
EARLY_NS: Final = 10_000_000
"""What reads may spend on looking as boundaries do: an interval of a short program is as short as its events allow."""
AWAKE_NS: Final = 20_000_000
"""What looks may take after something new was found, before boundaries rest again."""
AWAKE_LOOKS: Final = 800
"""So many looks a program gets in which something was found, before what is known is passed over: short ones count in full."""
MOST_NS: Final = 5_000_000
"""Unused time is saved up to this."""
RESERVE_NS: Final = 200_000
"""Kept for the boundaries that come first."""
AROUND_NS: Final = 8_000
"""What a look costs beyond itself: the way to it and back, and what it has put out of the processor's caches."""
MOST_AT_ONCE_NS: Final = 500_000
"""More than this was no look of ours: somebody else had the processor."""


class Pace:
    """A share of wall time, spent by the looks of boundaries. ``until`` and ``until_first`` are on ``perf_counter_ns``."""

    __slots__ = (
        "_asked", "_credit", "_for_good", "_held", "_last", "_looks", "_share", "early_ns", "eased", "last_rest",
        "may_rest_again", "rested", "until", "until_first", "woken",
    )  # fmt: skip

    def __init__(self, share: float) -> None:
        self._share = share * PART
        self._credit = float(START_NS)
        self._last = perf_counter_ns()
        self.until = 0
        """Boundaries rest until then,"""
        self.until_first = 0
        """those that come first until then."""
        self.rested = 0
        """Boundaries that did not look."""
        self.last_rest = 0
        """The serial number of the last of them: a loop may have turned there."""
        self.early_ns = EARLY_NS
        """What is left of that."""
        self.eased = False
        """The start is over and nothing was found: reads of busy lines, too, look at memory now and then only."""
        self.woken = NEVER
        """The serial number of the event from which on nothing rests."""
        self.may_rest_again: Callable[[], bool] = bool
        """Whether all that was found is known by its line; asked once nothing new was found for a while."""
        self._for_good = self._held = False
        self._looks = 0
        self._asked = 0
        """When a boundary was told to look, until it has: on its way to the user's line it spends time, too."""

    def never_look(self) -> None:
        """Nobody asks about later writes: boundaries rest until somebody does."""
        self.until = self.until_first = NEVER
        self.early_ns, self.eased = 0, True

    def begin(self) -> None:
        """Somebody does."""
        self.until = self.until_first = self.rested = 0
        self.early_ns, self.eased = EARLY_NS, False

    def rests(self, *, comes_first: bool = False) -> bool:
        """Whether a boundary that is reached now passes without a look."""
        now = perf_counter_ns()
        if now >= (self.until_first if comes_first else self.until):
            self._asked = now
            return False
        self.rested += 1
        self.last_rest = tick()
        return True

    def spend(self, nanoseconds: int) -> None:
        """A look took so long, by itself."""
        now, asked = perf_counter_ns(), self._asked
        self._looks += 1
        if asked:
            nanoseconds, self._asked = max(nanoseconds, now - asked), 0
        if self._credit < MOST_NS:
            self._credit = min(self._credit + self._share * (now - self._last), MOST_NS)
        self._last = now
        self._credit -= min(nanoseconds + AROUND_NS, MOST_AT_ONCE_NS)
        if self._held or self._credit >= RESERVE_NS or self._share <= 0:
            return
        if self.woken == NEVER or self._rests_again():
            missing = RESERVE_NS - self._credit
            self.eased = True
            self.until = now + int(missing / self._share)
            self.until_first = now + max(int(-self._credit / self._share), 0)

    def _rests_again(self) -> bool:
        if self._for_good or self._looks < AWAKE_LOOKS or not self.may_rest_again():
            return False
        self.woken = NEVER
        self._credit = max(self._credit, 0.0)  # what was spent for want of a line is no debt
        return True

    def wake(self) -> None:
        """Something new was found: for a while nothing rests."""
        self.woken, self.eased = min(self.woken, tick()), False
        self.until = self.until_first = 0
        self._credit = max(self._credit, float(AWAKE_NS))

    def hold(self, held: bool) -> None:
        """While writes are followed, each line costs more than a look: the boundary at which that ends is not passed over."""
        self._held = held
        if held:
            self.until = self.until_first = 0

    def stay_awake(self) -> None:
        """Everything is to be seen: from now on nothing rests."""
        self._for_good = True
        self.wake()
