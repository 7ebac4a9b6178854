"""Small regions remembered as copies of their bytes, in batches that one comparison of lists in C looks at.

``copies == views`` compares bytearrays with memoryviews without running a line of Python, so under the interpreter lock
nothing can free the memory meanwhile. The bytearray stands on the left: a memoryview there compares element by element.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tensorwatch_guard.words import Change

from .differences import differing_span, has_gaps

if TYPE_CHECKING:
    from tensorwatch_guard.words import Region

Hold = Callable[[], object | None]
Found = list[tuple[Change, Any]]

BATCH: Final = 4
BATCHED_UP_TO: Final = 2048
"""Bytes above which a region stands alone, so that a glance at a batch stays short."""
GLANCE: Final = 8192
"""Bytes above which a region is not looked at in passing."""

_EACH: Final = object()


class Copy:
    """A small region and the copy of its bytes. ``batch`` is None until the first look after it came."""

    __slots__ = ("ask", "batch", "copy", "gaps", "gone", "hold", "key", "region", "seen", "view")

    def __init__(self, key: int, region: Region, hold: Hold, view: memoryview, seen: object, ask: Hold | None = None) -> None:
        self.key = key
        self.region = region
        self.hold = hold
        self.ask = ask or (None if type(hold) is weakref.ref else hold)
        self.view = view
        self.copy = bytearray(view)
        self.seen = seen
        self.batch: Batch | None = None
        self.gaps: bool | None = None
        self.gone = False

    @property
    def since(self) -> Any:
        """The stamp of its last comparison."""
        batch = self.batch
        return self.seen if batch is None or batch.seen is _EACH else batch.seen

    def changed(self, fresh: bytearray) -> tuple[Change, Any] | None:
        """Remember ``fresh`` instead. Returns the change with the stamp before it; None if only the gaps differ."""
        if self.gaps is None:
            self.gaps = has_gaps(self.region)
        span = differing_span(self.region, self.copy, fresh, gaps=self.gaps)
        told = None
        if span is not None:
            first, last = span
            told = Change(self.key, first, last, bytes(self.copy[first:last]), bytes(fresh[first:last])), self.seen
        self.copy[:] = fresh
        return told


class Batch:
    """Regions compared at once. ``ask`` is the only one's where its memory may move while it lives, else None.

    ``seen`` is the stamp of the last comparison of all; where it is ``_EACH`` the entries have their own.
    """

    __slots__ = ("ask", "copies", "entries", "keep", "nbytes", "place", "seen", "views")

    def __init__(self, place: int, ask: Hold | None) -> None:
        self.place = place
        self.ask = ask
        self.keep: Callable[[], object] | None = getattr(ask, "keep", None)
        self.entries: list[Copy] = []
        self.copies: list[bytearray] = []
        self.views: list[memoryview] = []
        self.nbytes = 0
        self.seen: object = _EACH

    def equal(self, stamp: object) -> bool:
        """Whether nothing changed. False also where it must not be read: ``differing`` finds out which."""
        ask = self.ask
        owner = ask() if ask is not None else self
        if owner is not None and self.copies == self.views:
            self.seen = stamp
            if self.keep is not None:
                self.keep()
            return True
        return False

    def differing(self, stamp: object, found: Found, unheld: set[int]) -> None:
        """Find out what changed, and remember it. Under the lock of the contents."""
        self.single()
        for entry in self.entries.copy():
            owner = entry.hold()
            if owner is None:
                unheld.add(entry.key)
                continue
            try:
                fresh = bytearray(entry.view)
            except ValueError:  # dropped between the lines
                continue
            del owner
            if not entry.gone and entry.copy != fresh:
                told = entry.changed(fresh)
                if told is not None:
                    found.append(told)
            entry.seen = stamp

    def single(self) -> None:
        """Give each entry its own stamp."""
        if self.seen is not _EACH:
            for entry in self.entries:
                entry.seen = self.seen
            self.seen = _EACH


class Copies:
    """All small regions. ``place`` and ``displace`` run under the lock of the contents."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._open: Batch | None = None
        self._turn = -1

    def place(self, entry: Copy) -> None:
        """Give a region its place in a batch."""
        alone = entry.ask is not None or entry.region.nbytes > BATCHED_UP_TO
        batch = None if alone else self._open
        if batch is None or len(batch.entries) >= BATCH:
            batch = Batch(len(self.batches), entry.ask)
            self.batches.append(batch)
            if not alone:
                self._open = batch
        batch.single()
        entry.batch = batch
        batch.nbytes += entry.region.nbytes
        batch.entries.append(entry)
        batch.copies.append(entry.copy)
        batch.views.append(entry.view)

    def displace(self, entry: Copy) -> None:
        """Take a region out of its batch."""
        batch = entry.batch
        if batch is None:
            return
        batch.single()
        at = batch.entries.index(entry)
        del batch.entries[at], batch.copies[at], batch.views[at]
        batch.nbytes -= entry.region.nbytes
        entry.batch = None
        if batch.entries:
            self._open = batch  # only regions that share a batch get here, so it is one for small trusted ones
            return
        last = self.batches.pop()
        if last is not batch:
            self.batches[batch.place] = last
            last.place = batch.place
        if self._open is batch:
            self._open = None

    def glance(self, but: Batch | None, stamp: object) -> Copy | None:
        """Compare the next batch in turn. Returns one of its regions if something differs there."""
        batches = self.batches
        self._turn = at = self._turn + 1
        try:
            batch = batches[at]
        except IndexError:
            if not batches:
                self._turn = -1
                return None
            self._turn = 0
            batch = batches[0]
        if batch is but or batch.nbytes > GLANCE:
            return None
        if batch.ask is None and batch.copies == batch.views:
            batch.seen = stamp
            return None
        return None if batch.equal(stamp) or not batch.entries else batch.entries[0]

    def look(
        self, stamp: object, found: Found, unheld: set[int], until: float, clock: Callable[[], int]
    ) -> bool:
        """Compare all, by turn, until the time is over. Returns whether all were compared."""
        batches, at = self.batches, self._turn
        for left in range(len(batches) - 1, -1, -1):
            at = at + 1 if at + 1 < len(batches) else 0
            batch = batches[at]
            if batch.ask is None and batch.copies == batch.views:
                batch.seen = stamp
            elif not batch.equal(stamp):
                batch.differing(stamp, found, unheld)
            if not left & 15 and left and clock() > until:
                self._turn = at
                return False
        return True
