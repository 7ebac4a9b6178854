"""All large regions: whose turn it is within the time allowed, and which of them the kernel watches for us."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from tensorwatch_guard.words import Change

from .fingerprints import hasher

if TYPE_CHECKING:
    from collections.abc import Callable

    from .copies import Found
    from .fingerprints import Digest, Fingerprint

SCAN_NS: Final = 50_000
"""What a scan is taken to cost before the first one."""
KEPT: Final = 4096
"""At most so many bytes of a change are given as ``after``: the first ones."""


class Pages(Protocol):
    """The kernel's record of written pages (``kernel.AsyncPages``). Ranges are of addresses and do not overlap."""

    def add(self, address: int, nbytes: int) -> bool: ...
    def remove(self, address: int) -> object: ...
    def scan(self) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...


class Large:
    """The large regions. Used under the lock of the contents. ``pages`` becomes None when the kernel refuses."""

    def __init__(self, clock: Callable[[], int], pages: Pages | None) -> None:
        self.pages = pages
        self._clock = clock
        self._digest: Digest | None = None
        self._regions: deque[Fingerprint] = deque()
        self._scan_ns = SCAN_NS

    def __bool__(self) -> bool:
        return bool(self._regions)

    def append(self, entry: Fingerprint) -> None:
        """A new region."""
        self._regions.append(entry)

    def remove(self, entry: Fingerprint) -> None:
        """A dropped one. Where its memory is gone the kernel has forgotten its pages, too."""
        if entry.paged:
            self._unwatch(entry)
        with contextlib.suppress(ValueError):
            self._regions.remove(entry)

    def look(self, stamp: object, found: Found, until: float, rested: bool, whole: bool) -> bool:
        """Compare as many as the time allows, by turn. Returns whether all were compared completely.

        Args:
            stamp: The caller's name for this moment.
            found: Takes the changes.
            until: When to stop, in the clock's nanoseconds.
            rested: Whether no more time can be saved up: then a scan is due, whatever it costs.
            whole: Begin every pass anew.
        """
        scanned = self._scan(until, rested)
        complete = True
        for left in range(len(self._regions) - 1, -1, -1):
            entry = self._regions[0]
            complete = self.advance(entry, stamp, found, until, scanned=scanned, whole=whole) and complete
            over = self._clock() > until
            if not over or not entry.unread:  # a first pass goes on next time, else it would never end among many
                self._regions.rotate(-1)
            if over and left:
                return False
        return complete

    def advance(
        self, entry: Fingerprint, stamp: object, found: Found, until: float, *, scanned: bool, whole: bool
    ) -> bool:
        """Go on with the pass over one region. Returns whether it is complete."""
        if self._digest is None:
            self._digest = hasher()
        if entry.cold and self.pages is not None:
            self._watch(entry)
        if entry.lazy and not entry.paged:
            return True  # told as ``file_bytes``
        since = entry.seen
        if whole:
            entry.start_over()
        complete, changed = entry.advance(self._digest, stamp, until, self._clock, scanned=scanned)
        if changed:
            first, last = min(low for low, _, _ in changed), max(high for _, high, _ in changed)
            after = entry.bytes_at(first, last, KEPT)
            found.append((Change(entry.key, first, last, None, after, entry.marks(changed)), since))
        return complete

    # -- pages ---------------------------------------------------------------------------------------------------------

    def _scan(self, until: float, rested: bool) -> bool:
        """Ask the kernel for written pages, if the time allows."""
        if self.pages is None or not any(entry.paged for entry in self._regions):
            return False
        started = self._clock()
        if started + self._scan_ns > until and not rested:
            return False
        try:
            ranges = sorted(self.pages.scan())
        except OSError:
            self._give_up()
            return False
        starts = [low for low, _ in ranges]
        for entry in self._regions:
            if entry.paged and not entry.mark(ranges, starts):
                self._unwatch(entry)
        self._scan_ns = (self._scan_ns + self._clock() - started) // 2
        return True

    def _watch(self, entry: Fingerprint) -> None:
        address, nbytes = entry.watched
        owner = entry.hold()  # kept to the end: no other memory may come to stand there
        if self.pages is None or nbytes <= 0 or owner is None:
            return
        try:
            if self.pages.add(address, nbytes):
                entry.watch()
            else:
                entry.unwatch()
        except OSError:
            self._give_up()
        del owner

    def _unwatch(self, entry: Fingerprint) -> None:
        entry.unwatch()
        if self.pages is not None:
            try:
                self.pages.remove(entry.watched[0])
            except OSError:
                self._give_up()

    def _give_up(self) -> None:
        self.pages = None
        for entry in self._regions:
            if entry.paged:
                entry.unwatch()
