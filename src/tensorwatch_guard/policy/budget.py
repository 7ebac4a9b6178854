"""Counting against a limit: at most so many in a run, in a step, or at a place."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..levels import Limit


class Budget:
    """What has been spent of one limit. Memory grows with places, never with steps."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._spent = 0
        self._step = -1
        self._places: dict[object, int] = {}
        self._lock = threading.Lock()

    def spent(self, place: object, step: int) -> int:
        """How many so far: in the run, in this step, or at this place."""
        if self.limit.per == "site":
            return self._places.get(place, 0)
        return 0 if self.limit.per == "step" and step != self._step else self._spent

    def spend(self, place: object, step: int) -> int:
        """One more. Returns how many there are now."""
        with self._lock:
            if self.limit.per == "site":
                now = self._places[place] = self._places.get(place, 0) + 1
                return now
            if self.limit.per == "step" and step != self._step:
                self._step, self._spent = step, 0
            self._spent += 1
            return self._spent

    def __str__(self) -> str:
        return f"limit({self.limit.n}, per={self.limit.per!r})" if self.limit.per != "run" else str(self.limit.n)
