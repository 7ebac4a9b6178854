"""What shared memory held when it was last looked at, and what has changed since.

Up to 64 KiB a region is remembered as a copy (``copies``), a larger one as hashes of its blocks
(``fingerprints``, ``large``), a file's memory above 1 MiB not at all unless the kernel tells which of its
pages were written. All of it keeps within a share of wall time; what had to be left out is counted.

Memory is never read after its end. Each region is read through a memoryview that ``drop`` releases, and
comparing with a released view reads nothing. Weak reference call-backs of arrays, tensors and storages run
under the interpreter lock before their memory is freed, also when autograd's engine drops the last reference
without that lock (seen on torch 2.13 for 4 KiB, 1 MiB and 64 MiB): ``drop`` comes in time. What may move
while it lives is asked for its owner first.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from .copies import Copies, Copy
from .differences import Described, describe
from .fingerprints import BLOCK, Fingerprint
from .large import Large

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tensorwatch_guard.words import Region

    from .copies import Found, Hold
    from .large import Pages

__all__ = ["Contents", "Described", "describe"]

FILE_LIMIT: Final = 1 << 20
"""A file's memory above this size is never read for a fingerprint."""
COPIES_LIMIT: Final = 64 << 20
"""Bytes of copies in all; what comes after is remembered as hashes, however small."""
FLOOR_NS: Final = 3_000
"""A look at small memory may always take this long: some sixty regions."""
LARGE_NS: Final = 20_000
"""Large memory waits until this much time is saved up: a few blocks at a time."""
START_NS: Final = 2_000_000
SMALL_BURST_NS: Final = 1_000_000
BURST_NS: Final = 10_000_000
"""Unused time is saved up to this, so no look takes longer."""
_UNSETTLED: Final = 64
_WAIT_S: Final = 0.05
_MOST_IN_VAIN: Final = 20
"""Such waits in a row, for a lock that nobody says he holds, after which it is taken for lost."""

# A slice of a view of "all memory" costs half of PyMemoryView_FromMemory, where ctypes converts three arguments.
_everything: Final = (ctypes.c_char * (1 << (46 if ctypes.sizeof(ctypes.c_void_p) == 8 else 30))).from_address


class _Budget:
    """How long looks may take: a share of wall time, half of it for small memory and half for large.

    What small memory does not use goes to the large. A look costs this thread's own processor time: that others
    were let run in the middle of one is not held against it.
    """

    def __init__(self, share: float, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.cost = time.thread_time_ns if clock is time.perf_counter_ns else clock
        self._share = share
        self._counted = clock()
        self.small = float(SMALL_BURST_NS)
        self.large = float(START_NS)

    def accrue(self) -> int:
        """Credit the time since the last look. Returns now."""
        now = self.clock()
        gained = self._share * (now - self._counted) / 2
        self._counted = now
        unused = max(0.0, self.small + gained - SMALL_BURST_NS)
        self.small += gained - unused
        self.large = min(self.large + gained + unused, BURST_NS)
        return now

    def spend_small(self, nanoseconds: int) -> None:
        """Small memory is looked at even without credit: a debt that nobody could pay off is forgiven."""
        self.small = max(self.small - nanoseconds, -SMALL_BURST_NS)


class Contents:
    """The remembered contents of all shared memory.

    ``add`` and ``drop`` need no lock and may come at any moment, from weak reference call-backs and in the middle
    of a look. Looks of two threads come one after the other; one out of the middle of another finds nothing.

    Args:
        share: Part of wall time that comparing may take.
        clock: A clock in nanoseconds.
        pages: Tells which pages of large cold memory were written; None where the kernel does not.
    """

    def __init__(
        self, *, share: float = 0.02, clock: Callable[[], int] = time.perf_counter_ns, pages: Pages | None = None
    ) -> None:
        self._budget = _Budget(share, clock)
        self._entries: dict[int, Copy | Fingerprint] = {}
        self._files: dict[int, int] = {}
        self._incoming: deque[Copy | Fingerprint] = deque()
        self._outgoing: deque[Copy | Fingerprint] = deque()
        self._copies = Copies()
        self.copies_up_to = BLOCK
        """Bytes up to which a region is remembered as a copy."""
        self.copied = 0
        self.large = Large(clock, pages)
        self._cut = 0
        self._unheld: set[int] = set()
        self._lock = threading.Lock()
        self._looking = 0
        self._in_vain = 0
        self._pid = os.getpid()

    # -- coming and going ----------------------------------------------------------------------------------------------

    def add(
        self, key: int, region: Region, hold: Hold, *, file_backed: bool = False, stamp: object = None, ask: Hold | None = None
    ) -> bool:
        """Remember a region from now on. The caller has its owner in hand.

        Args:
            key: Names the region; an older one of the same key is dropped.
            region: The memory.
            hold: Gives the living owner of the unmoved memory, or None. A plain ``weakref.ref`` is a promise:
                the memory cannot move while that object lives, and before its end ``drop`` is called. Such
                memory is compared without asking.
            file_backed: Whether the memory is a file's.
            stamp: The caller's name for this moment; comes back with the first change.
            ask: Called in place of ``hold`` ahead of each comparison of a small region, and its ``keep`` after one that has
                found nothing.

        Returns:
            Whether the region will be compared.
        """
        if key in self._entries or key in self._files:
            self.drop(key)
        nbytes = region.nbytes
        if nbytes <= 0:
            return False
        view = memoryview(_everything(region.address))[:nbytes]
        entry: Copy | Fingerprint
        if nbytes <= self.copies_up_to and self.copied < COPIES_LIMIT:
            self.copied += nbytes
            entry = Copy(key, region, hold, view, stamp, ask)
        else:
            lazy = file_backed and nbytes > FILE_LIMIT
            if lazy:
                self._files[key] = nbytes
                if self.large.pages is None:
                    return False
            entry = Fingerprint(key, region, hold, view, stamp, lazy=lazy)
        self._entries[key] = entry
        self._incoming.append(entry)
        if len(self._incoming) > _UNSETTLED and self._enter(wait=False):
            try:
                self._settle()
            finally:
                self._leave()
        return True

    def seen(self, key: int) -> Any:
        """The stamp of a region's last comparison, None where it is not compared."""
        entry = self._entries.get(key)
        return entry.since if isinstance(entry, Copy) else entry.seen if entry is not None else None

    def drop(self, key: int) -> None:
        """Never read the region again, from this very moment. Any thread, any moment."""
        self._files.pop(key, None)
        entry = self._entries.pop(key, None)
        if entry is not None:
            entry.gone = True
            with contextlib.suppress(BufferError):  # a block is hashed right now: its owner is held for as long
                entry.view.release()
                if isinstance(entry, Copy) and entry.batch is None:
                    entry.copy.clear()  # thousands of short lives between two looks cost no memory
            self._outgoing.append(entry)

    def close(self) -> None:
        """Nothing is asked of the kernel any more."""
        if self.large.pages is not None:
            self.large.pages.close()

    def _settle(self) -> None:
        """Give new regions their places, and take those of dropped ones. Under the lock."""
        while self._incoming:
            entry = self._incoming.popleft()
            if entry.gone:
                continue
            if isinstance(entry, Copy):
                self._copies.place(entry)
            else:
                self.large.append(entry)
        while self._outgoing:
            entry = self._outgoing.popleft()
            if isinstance(entry, Copy):
                self.copied -= entry.region.nbytes
                self._copies.displace(entry)
                continue
            self.large.remove(entry)

    # -- looking -------------------------------------------------------------------------------------------------------

    def look(
        self, keys: Collection[int] | None = None, *, stamp: object = None, whole: bool = False, due: bool = True
    ) -> Found:
        """Compare, and remember what is there now.

        Args:
            keys: Which regions; None for all of them, small ones first, then the large ones by turn.
            stamp: The caller's name for this moment.
            whole: Compare everything that was asked for, whatever time it takes.
            due: Whether it is missed where it ends early; a look beyond the boundaries is not.

        Returns:
            The changes, each with the stamp of the last comparison before it: it was written between the two.
        """
        found: Found = []
        if not self._enter(wait=True):
            self._cut += due
            return found
        try:
            if self._incoming or self._outgoing:
                self._settle()
            if keys is None:
                complete = self._look_at_all(stamp, found, whole)
                self._cut += due and not complete
            else:
                self._look_at(keys, stamp, found, whole)
        finally:
            self._leave()
        return found

    def peek(self, key: int | None = None, *, stamp: object = None) -> Found:
        """Compare the small memory at hand and, in passing, the next few small regions in turn: well under a microsecond."""
        found: Found = []
        at_hand = None
        if key is not None:
            entry = self._entries.get(key)
            if isinstance(entry, Copy):
                at_hand = entry.batch
                if at_hand is None or not at_hand.equal(stamp):
                    self._peek_closer(entry, stamp, found)
        if self._incoming:
            self._peek_closer(None, stamp, found)  # gives those that came their places
        suspect = self._copies.glance(at_hand, stamp)
        if suspect is not None:
            self._peek_closer(suspect, stamp, found)
        return found

    def _peek_closer(self, entry: Copy | None, stamp: object, found: Found) -> None:
        if not self._enter(wait=False):
            return
        try:
            self._settle()
            batch = entry.batch if entry is not None else None
            if batch is not None and not batch.equal(stamp):
                batch.differing(stamp, found, self._unheld)
        finally:
            self._leave()

    def _look_at_all(self, stamp: object, found: Found, whole: bool) -> bool:
        budget, copies = self._budget, self._copies
        few = self.copied <= BLOCK and len(copies.batches) <= 16  # a few microseconds: less than asking what it costs
        if few and not self.large:
            return copies.look(stamp, found, self._unheld, math.inf, budget.clock)
        now = budget.accrue()
        if few or whole:
            complete = copies.look(stamp, found, self._unheld, math.inf, budget.clock)
        else:
            began = budget.cost()
            complete = copies.look(stamp, found, self._unheld, now + max(budget.small, FLOOR_NS), budget.clock)
            budget.spend_small(budget.cost() - began)
        if self.large:
            complete = self._look_at_large(None, stamp, found, whole) and complete
        return complete

    def _look_at_large(self, only: Fingerprint | None, stamp: object, found: Found, whole: bool) -> bool:
        budget = self._budget
        if not whole and budget.large < LARGE_NS:
            return False
        began = budget.cost()
        until = math.inf if whole else budget.clock() + budget.large
        if only is None:
            complete = self.large.look(stamp, found, until, budget.large >= BURST_NS, whole)
        else:
            complete = self.large.advance(only, stamp, found, until, scanned=False, whole=whole)
        if not whole:
            budget.large -= budget.cost() - began
        return complete

    def _look_at(self, keys: Collection[int], stamp: object, found: Found, whole: bool) -> None:
        for key in keys:
            entry = self._entries.get(key)
            if isinstance(entry, Copy):
                batch = entry.batch
                if batch is not None and not batch.equal(stamp):
                    batch.differing(stamp, found, self._unheld)
            elif entry is not None:
                self._budget.accrue()
                if not self._look_at_large(entry, stamp, found, whole):
                    self._cut += 1

    @property
    def looks_cut(self) -> int:
        """How many looks ended before everything asked for was compared."""
        return self._cut

    # -- telling -------------------------------------------------------------------------------------------------------

    def unheld(self) -> list[int]:
        """Keys whose memory could not be held when it was to be read: gone or moved. Each is told once."""
        told = []
        while self._unheld:
            told.append(self._unheld.pop())
        return told

    def missed(self) -> dict[str, int]:
        """What was not looked at.

        ``unread_bytes`` have no fingerprint yet, ``file_bytes`` get none on our own account, ``looks_cut`` is the
        number of looks that ended before everything asked for was compared.
        """
        large = [entry for entry in list(self._entries.values()) if isinstance(entry, Fingerprint)]
        return {
            "unread_bytes": sum(entry.unread for entry in large if not entry.lazy),
            "file_bytes": sum(list(self._files.values())),
            "looks_cut": self._cut,
        }

    # -- one look at a time --------------------------------------------------------------------------------------------

    def _enter(self, *, wait: bool) -> bool:
        me = threading.get_ident()
        if self._looking == me:  # a destructor that ran in the middle of a look asks
            return False
        if not self._lock.acquire(blocking=False) and not (wait and self._wait()):
            return False
        self._looking = me
        return True

    def _wait(self) -> bool:
        if self._pid != os.getpid():  # forked while another thread looked: that thread is not here
            self._pid = os.getpid()
            self._lock = threading.Lock()
        if self._lock.acquire(timeout=_WAIT_S):
            return True
        self._in_vain = 0 if self._looking else self._in_vain + 1
        if self._in_vain < _MOST_IN_VAIN:
            return False
        self._in_vain = 0
        self._lock = threading.Lock()  # a signal handler raised right behind somebody's acquire: nobody will release it
        return self._lock.acquire(blocking=False)

    def _leave(self) -> None:
        self._looking = 0
        self._in_vain = 0
        self._lock.release()
