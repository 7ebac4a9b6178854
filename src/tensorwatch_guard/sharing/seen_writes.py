"""The writes a line follower has seen and nobody has collected yet; of a line that writes often some, and their number."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from ..words import Write

WRITES_A_LINE: Final = 20
"""Writes kept for one piece of memory and one line between two collections; more are only counted."""

Spot = tuple[int, str, int]
"""What was written, the file, the line."""


class SeenWrites:
    """``more`` counts what was not kept, for good. The caller sees to it that one thread at a time adds."""

    def __init__(self) -> None:
        self.more: Counter[Spot] = Counter()
        self.kept: list[Write] = []
        self._told: Counter[Spot] = Counter()
        self._left_out: Counter[Spot] = Counter()

    def takes(self, spot: Spot) -> bool:
        """A write was seen there. Whether it is to be kept; if not it is counted."""
        self._told[spot] += 1
        if self._told[spot] <= WRITES_A_LINE:
            return True
        self.more[spot] += 1
        self._left_out[spot] += 1
        return False

    def add(self, write: Write) -> None:
        """Keep one."""
        self.kept.append(write)

    def collect(self) -> list[Write]:
        """Those since the last call, oldest first; the last that was kept of a line stands for those that were not."""
        kept, self.kept = self.kept, []
        for at in range(len(kept) - 1, -1, -1) if self._left_out else ():
            one = kept[at]
            spot = (one.key, one.place.file, one.place.line) if one.place is not None else (one.key, "", 0)
            if left := self._left_out.pop(spot, 0):
                kept[at] = replace(one, times=1 + left)
        self._left_out.clear()
        self._told.clear()
        return kept

    def clear(self) -> None:
        """Forget what was kept: in a forked child it is the parent's."""
        self.kept = []
