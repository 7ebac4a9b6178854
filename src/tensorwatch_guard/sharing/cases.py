"""One interval in which memory of one site was written, and how long its line is looked for."""

from __future__ import annotations

from typing import Final

from ..words import Writer

TURNS: Final = 3
"""Turns of a loop in which an interval is followed before it is given up."""
PATIENCE: Final = 1000
"""Looks for which an interval's return is waited for with open eyes, and an armed interval's end: it may never come."""
DOUBTS: Final = 4
"""So many times memory is followed from where it is handed out to a backward that may have used new values."""
MOST_LINES: Final = 4
"""Lines of one interval that are looked for: a helper that is called twice in a turn has the same ends for two of them."""
IDLE: Final = 4
LOOK_AGAIN: Final = 8
"""After so many writes a known interval is followed once more, and after half as many again, and so on: another line may have
begun to write there."""
LOOKS_AGAIN: Final = 50
"""Looks for which such a turn is waited for, and lasts."""


class Case:
    """One interval in which memory of one site was written: followed until its line is named, or given up."""

    __slots__ = (
        "again", "armed", "armed_at", "doubts", "events", "from_key", "idle", "kind", "lines", "look_again", "named",
        "patience", "places", "seen", "site", "to_key", "turns", "writers",
    )  # fmt: skip

    def __init__(
        self, site: tuple[object, ...], kind: tuple[str, int], from_key: tuple[object, ...], to_key: tuple[object, ...]
    ) -> None:
        self.site = site
        self.kind = kind
        self.from_key = from_key
        self.to_key = to_key
        self.places = (site, from_key[:-1], to_key[:-1])
        """Keys of trails: the events there must be known in full while it keeps awake."""
        self.turns = TURNS
        self.events = 0
        self.armed = False
        self.armed_at = 0
        """Serial number of the event: of several looks in its course (each newborn that is adopted has one) none is a turn."""
        self.named = False
        self.lines: set[object] = set()
        """Those it was named by. After a new one it is followed"""
        self.again = 0
        """so many times more, not counting"""
        self.idle = 0
        """turns without a write, so many of them."""
        self.doubts = DOUBTS
        self.writers: set[Writer] = set()
        """Who wrote in the lines it was named by."""
        self.seen = 0
        self.look_again = LOOK_AGAIN
        self.patience = PATIENCE

    @property
    def keeps_awake(self) -> bool:
        """Whether aliases must go the long way for it."""
        return self.armed or (self.waits and self.patience > 0)

    @property
    def waits(self) -> bool:
        """Whether it is to be followed when it begins again."""
        return self.turns > 0 and (not self.named or self.again > 0)

    def found(self, *, looks_again: bool) -> bool:
        """Memory was written in it once more. Whether it is time to look for other lines beside those that are known."""
        self.seen += 1
        if not looks_again or not self.named or self.seen < self.look_again:
            return False
        self.look_again = self.seen + max(self.seen // 2, LOOK_AGAIN)
        self.again, self.turns, self.patience = 1, max(self.turns, 1), LOOKS_AGAIN
        return True

    def name(self, line: object, writer: Writer) -> None:
        """A line wrote in it."""
        self.named = True
        self.writers.add(writer)
        self.events += 1
        if line not in self.lines and len(self.lines) < MOST_LINES:
            self.lines.add(line)
            self.again, self.idle, self.turns = 1, IDLE, max(self.turns, 1)
