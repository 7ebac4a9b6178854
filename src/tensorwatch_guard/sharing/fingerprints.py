"""Fingerprints of memory too large for a copy: one hash for each block of 64 KiB.

A pass over a large region is made in as many pieces as the time budget asks for, and goes on where it stopped.
Where the kernel tells which pages were written, a pass takes only the blocks that hold such pages.
"""

from __future__ import annotations

import math
import mmap
from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .differences import axes_of, has_gaps

if TYPE_CHECKING:
    from tensorwatch_guard.words import Mark, Region

BLOCK: Final = 65536
"""Bytes a hash stands for. xxhash keeps the interpreter lock for buffers of this size."""
PAGED_FROM: Final = 1 << 20
"""Bytes from which on scanning pages is cheaper than hashing."""
HUGE: Final = 64 << 20
"""Bytes from which on a second pass without change is too dear to wait for."""
HOT_SHARE: Final = 0.15
"""Above this share of written blocks, hashing everything is cheaper than write-protecting the pages again."""
HOT_SCANS: Final = 2
"""Scans in a row after which memory counts as hot."""
_AT_ONCE: Final = 4
"""Blocks between two looks at the clock and at the owner."""

Digest = Callable[[Any], int]


def hasher() -> Digest:
    """The fastest hash at hand: xxh3 (30 GB/s), without its wheel CRC-32 (4 GB/s)."""
    try:
        from xxhash import xxh3_64_intdigest
    except ImportError:
        from zlib import crc32

        return crc32
    return xxh3_64_intdigest  # type: ignore[no-any-return, unused-ignore]


class Runs:
    """The blocks of a region without gaps: runs of bytes."""

    __slots__ = ("count", "nbytes")

    def __init__(self, region: Region) -> None:
        self.nbytes = region.nbytes
        self.count = -(-region.nbytes // BLOCK)

    def bounds(self, index: int) -> tuple[int, int]:
        """Byte offsets of a block in the region's span."""
        return index * BLOCK, min((index + 1) * BLOCK, self.nbytes)

    def packed(self, index: int) -> int:
        """How many bytes of the region's elements a block has."""
        return min(BLOCK, self.nbytes - index * BLOCK)

    def read(self, view: memoryview, index: int) -> Any:
        """Those bytes."""
        return view[index * BLOCK : (index + 1) * BLOCK]


class Rows:
    """The blocks of a region with gaps: groups of rows, packed for the hash, so neighbours' bytes do not count."""

    __slots__ = ("_inner", "_outer", "_parts", "_rows", "_shape", "_steps", "count", "nbytes")

    def __init__(self, region: Region) -> None:
        axes = axes_of(region)
        split = 0
        while split < len(axes) - 1 and region.itemsize * math.prod(a.length for a in axes[split + 1 :]) > BLOCK:
            split += 1
        self._outer = [(axis.length, axis.step) for axis in axes[:split]]
        self._shape = (*(axis.length for axis in axes[split:]), region.itemsize)
        self._steps = (*(axis.step for axis in axes[split:]), 1)
        self._inner = math.prod(self._shape[1:])
        self._rows = max(1, BLOCK // self._inner)
        self._parts = -(-self._shape[0] // self._rows)
        self.count = math.prod(length for length, _ in self._outer) * self._parts
        self.nbytes = region.itemsize * math.prod(axis.length for axis in axes)

    def _place(self, index: int) -> tuple[int, int]:
        index, part = divmod(index, self._parts)
        offset = part * self._rows * self._steps[0]
        for length, step in reversed(self._outer):
            index, own = divmod(index, length)
            offset += own * step
        return offset, min(self._rows, self._shape[0] - part * self._rows)

    def bounds(self, index: int) -> tuple[int, int]:
        """Byte offsets of a block in the region's span."""
        offset, rows = self._place(index)
        inner = sum((length - 1) * step for length, step in zip(self._shape[1:], self._steps[1:], strict=True))
        return offset, offset + (rows - 1) * self._steps[0] + inner + 1

    def packed(self, index: int) -> int:
        """How many bytes of the region's elements a block has."""
        return self._place(index)[1] * self._inner

    def read(self, view: memoryview, index: int) -> Any:
        """Those bytes, one after the other."""
        offset, rows = self._place(index)
        return np.ascontiguousarray(np.ndarray((rows, *self._shape[1:]), np.uint8, view, offset, self._steps))


class Fingerprint:
    """A large region, its hashes, and how far the pass over it has come.

    ``seen`` is the stamp since which a change found now must have happened, ``unread`` counts bytes without a hash.
    A *lazy* one (a file's memory) is never read on our own account: only blocks that the kernel calls written are.
    """

    __slots__ = (
        "_began", "_blocks", "_calm", "_dirty", "_hashes", "_hot", "_known", "_next", "_wanted", "gone", "hold", "key",
        "lazy", "paged", "region", "seen", "unread", "view",
    )  # fmt: skip

    def __init__(
        self,
        key: int,
        region: Region,
        hold: Callable[[], object | None],
        view: memoryview,
        stamp: object,
        *,
        lazy: bool,
    ) -> None:
        self.key = key
        self.region = region
        self.hold = hold
        self.view = view
        self.seen = stamp
        self.lazy = lazy
        self.gone = False
        self.paged = False
        self._blocks: Runs | Rows = Rows(region) if has_gaps(region) else Runs(region)
        self._hashes = array("Q", bytes(8 * self._blocks.count))
        self._known = bytearray(self._blocks.count)
        self.unread = self._blocks.nbytes
        self._began: object = stamp
        self._next = self._blocks.count
        self._dirty: set[int] = set()
        self._calm = 0
        self._wanted = 1 if region.nbytes >= HUGE else 2
        self._hot = 0

    # -- pages ---------------------------------------------------------------------------------------------------------

    @property
    def watched(self) -> tuple[int, int]:
        """Address and length of the whole pages in the region; the pages at its edges are shared with strangers."""
        page = mmap.PAGESIZE
        low = -(-self.region.address // page) * page
        return low, (self.region.address + self.region.nbytes) // page * page - low

    @property
    def cold(self) -> bool:
        """Whether the kernel should watch its pages now: large, and unchanged for long enough."""
        if self.paged or self.gone or self.region.nbytes < PAGED_FROM or not isinstance(self._blocks, Runs):
            return False
        return self.lazy or self._calm >= self._wanted

    def watch(self) -> None:
        """The kernel has begun to watch: everything is compared once more, afterwards only what it calls written."""
        self.paged = True
        self._hot = 0
        self._dirty = set() if self.lazy else set(range(self._blocks.count))

    def unwatch(self) -> None:
        """The kernel watches no more: passes over everything again, and a longer calm before the next try."""
        self.paged = False
        self._next = self._blocks.count
        self._calm = 0
        self._wanted = min(4 * self._wanted, 256)
        self._dirty.clear()

    def mark(self, ranges: list[tuple[int, int]], starts: list[int]) -> bool:
        """Note the blocks in written page ranges, sorted by ``starts``, their beginnings. False if many, too often."""
        address, end = self.region.address, self.region.address + self.region.nbytes
        written: set[int] = set()
        at = max(bisect_right(starts, address) - 1, 0)
        while at < len(ranges) and ranges[at][0] < end:
            low, high = max(ranges[at][0], address), min(ranges[at][1], end)
            if low < high:
                written.update(range((low - address) // BLOCK, (high - 1 - address) // BLOCK + 1))
            at += 1
        self._dirty |= written
        if not self.lazy and self.watched != (address, self.region.nbytes):
            self._dirty.update((0, self._blocks.count - 1))
        self._hot = self._hot + 1 if len(written) > max(4, HOT_SHARE * self._blocks.count) else 0
        return self.lazy or self._hot < HOT_SCANS

    # -- comparing -----------------------------------------------------------------------------------------------------

    def advance(
        self, digest: Digest, stamp: object, until: float, clock: Callable[[], int], *, scanned: bool
    ) -> tuple[bool, list[Mark]]:
        """Compare blocks until the pass is complete or the time is over, but at least a few.

        Args:
            digest: The hash.
            stamp: The caller's name for this moment.
            until: When to stop, in the clock's nanoseconds.
            clock: The clock.
            scanned: Whether the kernel was asked for written pages in this very look.

        Returns:
            Whether the pass is complete, and the blocks that changed: byte offsets, and their hashes before.
        """
        if not self.paged and self._next >= self._blocks.count:
            self._next = 0
            self._began = stamp
        changed: list[Mark] = []
        while todo := self._take():
            found = self._compare(digest, todo)
            if found is None:
                return False, changed
            changed += found
            if clock() > until:
                break
        complete = not self._dirty and scanned if self.paged else self._next >= self._blocks.count
        if complete:
            self.seen = stamp if self.paged else self._began
            self._calm += 1
        if changed:
            self._calm = 0
        return complete, changed

    def marks(self, changed: list[Mark]) -> tuple[Mark, ...]:
        """The first and the last of them, if their hashes are of all bytes between their ends."""
        return tuple({min(changed), max(changed)}) if isinstance(self._blocks, Runs) else ()

    def start_over(self) -> None:
        """Let the next pass begin with the first block: what an unfinished one has compared may have changed since."""
        if not self.paged:
            self._next = self._blocks.count

    def bytes_at(self, first: int, last: int, most: int) -> bytes | None:
        """The first ``most`` bytes of ``[first, last)`` now; None where they must not be read."""
        owner = self.hold()
        if owner is None:
            return None
        try:
            return bytes(self.view[first : min(last, first + most)])
        except ValueError:
            return None

    def _take(self) -> list[int]:
        if self.paged:
            return [self._dirty.pop() for _ in range(min(_AT_ONCE, len(self._dirty)))]
        first = self._next
        self._next = min(first + _AT_ONCE, self._blocks.count)
        return list(range(first, self._next))

    def _compare(self, digest: Digest, todo: list[int]) -> list[Mark] | None:
        """Which of these blocks changed; None when their memory must not be read (any more)."""
        owner = self.hold()  # a strong reference until the end: hashing may let other threads run
        if owner is None or self.gone:
            self._put_back(todo)
            return None
        try:
            was = [(index, self._differs(digest, index)) for index in todo]
            return [(*self._blocks.bounds(index), before) for index, before in was if before is not None]
        except ValueError:  # the view was released meanwhile
            return None

    def _put_back(self, todo: list[int]) -> None:
        if self.paged:
            self._dirty.update(todo)
        else:
            self._next = todo[0]

    def _differs(self, digest: Digest, index: int) -> int | None:
        """The hash of a block before it changed; None if it has not."""
        fresh = digest(self._blocks.read(self.view, index))
        if not self._known[index]:
            self._known[index] = 1
            self._hashes[index] = fresh
            self.unread -= self._blocks.packed(index)
            return None
        before = self._hashes[index]
        if fresh == before:
            return None
        self._hashes[index] = fresh
        return before
