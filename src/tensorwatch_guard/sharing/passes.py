"""When each place in the user's code was last passed by an event, to know loops that turned within an interval.

Not every event looks at all memory. Found changed at line 12, last looked at in line 11: was it written between the two
lines, or has the loop around them turned meanwhile without a look? An interval in time is no interval of lines then.
"""

from __future__ import annotations

from functools import lru_cache
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
        for end, others in ((before.trail, _up_to), (after.trail, _from)):
            if end.code is None:
                continue
            if (id(end.code), end.lasti) in self.unnoted and before.serial < self._pace.woken:
                return True
            for lasti in others(end.code, end.lasti):  # where a side dies is an instruction behind the one that made the next
                if before.serial < self.last.get((id(end.code), lasti), self._forgotten) < after.serial:
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


@lru_cache(maxsize=1024)
def _up_to(code: CodeType, lasti: int) -> tuple[int, ...]:
    """The instructions of one line up to one of them: passed after it they were passed again."""
    return tuple(at for at in _line(code, lasti) if at <= lasti) or (lasti,)


@lru_cache(maxsize=1024)
def _from(code: CodeType, lasti: int) -> tuple[int, ...]:
    """Those from it on: passed ahead of it they were passed in a turn before."""
    return tuple(at for at in _line(code, lasti) if at >= lasti) or (lasti,)


def _line(code: CodeType, lasti: int) -> list[int]:
    parts = [(start, end, line) for start, end, line in code.co_lines() if line is not None]
    number = next((line for start, end, line in parts if start <= lasti < end), None)
    return [at for start, end, line in parts if line == number for at in range(start, end, 2)]
