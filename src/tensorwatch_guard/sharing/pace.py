"""How often boundaries look, in a program whose steps are short.

A look with all that belongs to it takes some ten microseconds. A step of a small model takes a thousand, and has six
boundaries: looking at each would cost more than the share of time that looking may take. So boundaries rest when the
share is used up, until something was found. The one before a backward comes first: what it misses is a wrong gradient.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Final

START_NS: Final = 25_000_000
"""What may be spent before anything is saved up: a short program is looked at in full."""
MOST_NS: Final = 5_000_000
"""Unused time is saved up to this."""
RESERVE_NS: Final = 200_000
"""Kept for the boundaries that come first."""
MOST_AT_ONCE_NS: Final = 500_000
"""More than this was no look of ours: somebody else had the processor."""


class Pace:
    """A share of wall time, spent by the looks of boundaries."""

    __slots__ = ("_credit", "_last", "_share", "rested")

    def __init__(self, share: float) -> None:
        self._share = share
        self._credit = float(START_NS)
        self._last = perf_counter_ns()
        self.rested = 0
        """Boundaries that did not look."""

    def is_due(self, comes_first: bool) -> bool:
        """Whether there is time for a look now."""
        now = perf_counter_ns()
        if self._credit < MOST_NS:
            self._credit = min(self._credit + self._share * (now - self._last), MOST_NS)
        self._last = now
        due = self._credit > (0 if comes_first else RESERVE_NS)
        self.rested += not due
        return due

    def spend(self, nanoseconds: int) -> None:
        """A look took so long."""
        self._credit -= min(nanoseconds, MOST_AT_ONCE_NS)
