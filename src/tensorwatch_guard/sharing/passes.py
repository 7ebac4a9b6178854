"""When each place in the user's code was last passed by an event, to know loops that turned within an interval.

Not every event looks at all memory. Found changed at line 12, last looked at in line 11: was it written between the two
lines, or has the loop around them turned meanwhile without a look? An interval in time is no interval of lines then.
"""

from __future__ import annotations

from types import CodeType
from typing import Final

from ..sites import Trail
from .loops import goes_round
from .moments import END, Moment
from .pace import Pace

MOST: Final = 20_000


class Passes:
    """Serial numbers of the last events at each place. ``note`` is called when an event's own look is over."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.last: dict[tuple[int, int], int] = {}
        self.unnoted: set[tuple[int, int]] = set()
        """Busy places that are passed without a note until the pace wakes."""
        self._forgotten = 0

    def note(self, code: CodeType | None, lasti: int, serial: int) -> None:
        """An event passed here."""
        if len(self.last) >= MOST:
            self.last.clear()
            self._forgotten = serial
        self.last[id(code), lasti] = serial

    def noted(self, moment: Moment) -> None:
        """The same of a moment; the end of a call is no second pass of it."""
        code = moment.trail.code
        if code is not None and moment.phase != END:
            self.note(code, moment.trail.lasti, moment.serial)

    def turned(self, before: Moment, after: Moment) -> bool:
        """Whether one end's place was, or may have been, passed again in between, or the loop may have turned without that."""
        if before.serial < self._pace.last_rest < after.serial:
            return True
        for end in (before.trail, after.trail):
            place = (id(end.code), end.lasti)
            if end.code is not None and (
                before.serial < self.last.get(place, self._forgotten) < after.serial
                or (place in self.unnoted and before.serial < self._pace.woken)
            ):
                return True
        first, last = before.trail, after.trail
        return first.code is not None and first.code is last.code and goes_round(first.code, first.lasti, last.lasti)

    def again(self, ends: tuple[Trail | None, ...], serial: int) -> bool:
        """Whether one of these places was, or may have been, passed again after that event."""
        return any(
            serial < self.last.get((id(end.code), end.lasti), self._forgotten)
            for end in ends
            if end is not None and end.code is not None
        )
