"""When each place in the user's code was last passed by an event, to know loops that turned within an interval.

Not every event looks at all memory. Found changed at line 12, last looked at in line 11: was it written between the two
lines, or has the loop around them turned meanwhile without a look? An interval in time is no interval of lines then.
"""

from __future__ import annotations

from types import CodeType
from typing import Final

from .moments import END, Moment

MOST: Final = 20_000


class Passes:
    """Serial numbers of the last events at each place. ``note`` is called when an event's own look is over."""

    def __init__(self) -> None:
        self.last: dict[tuple[int, int], int] = {}
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
        """Whether one end's place was passed again in between."""
        return any(
            before.serial < self.last.get((id(end.code), end.lasti), self._forgotten) < after.serial
            for end in (before.trail, after.trail)
            if end.code is not None
        )
