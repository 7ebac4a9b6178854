"""The watched pieces of memory and what they held when last looked at, arranged so that one C comparison asks them all.

``snapshots != live`` compares a list of bytearrays with a list of memoryviews without running a line of Python, so
under the interpreter lock nothing can free the memory meanwhile. The bytearray must stand on the left: the other way
round memoryview compares element by element, 90 times slower. Slots never move: taking a piece out empties its slot,
and an empty slot costs a few nanoseconds because both lists then hold the same object.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_ONLY: Final = 0x100
RESTING: Final = "resting"
"""In slot 0 while nobody follows."""
_HALTED: Final = "halted"
"""In slot 0 while somebody looks: whoever comes to the end of a line waits."""


# An own function object: argument types set on ctypes.pythonapi's would be seen by everybody in the process.
_memoryview: Final = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)


@dataclass(slots=True, eq=False)
class Piece:
    """Watched memory that begins at ``offset`` in its key's region. Changes of an untold piece are no writes."""

    key: int
    offset: int
    view: memoryview
    hold: Callable[[], object | None]
    told: bool
    grain: int = 1
    slot: int = 0
    gone: bool = False


class Difference(NamedTuple):
    """Bytes ``[first, last)`` of the region of ``key`` that are not what they were."""

    key: int
    first: int
    last: int
    before: bytes
    after: bytes


def differing(before: bytes, after: bytes) -> tuple[int, int]:
    """First differing byte and last differing byte + 1 of two byte strings of one length that differ."""
    mixed = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
    return ((mixed & -mixed).bit_length() - 1) // 8, (mixed.bit_length() + 7) // 8


class Pieces:
    """All pieces of one follower.

    ``add`` and ``take`` run under ``lock``; ``remove`` needs none and may come at any moment, from weak reference
    callbacks and in the middle of the other two. Slot 0 is no memory: while it differs, every trace function looks
    closer, finds out that following has ended and lets go, or waits for the look that is under way.
    """

    def __init__(self) -> None:
        self.live: list[Any] = [None]
        self.snapshots: list[Any] = [RESTING]
        self.lock = threading.RLock()
        self._by_key: dict[int, tuple[Piece, ...]] = {}
        self._free: list[int] = []
        self._busy = False

    def __bool__(self) -> bool:
        return any(pieces[0].told for pieces in tuple(self._by_key.values()))

    def rest(self) -> None:
        """Make every comparison differ: whoever still follows lets go at its next line."""
        self.snapshots[0] = RESTING

    def wake(self) -> None:
        """Let comparisons tell the truth again."""
        self.snapshots[0] = None

    def halt(self) -> None:
        """Under the lock: have every thread wait for it at the end of its line, changed memory or not."""
        if self.snapshots[0] is None:
            self.snapshots[0] = _HALTED

    def resume(self) -> None:
        """Let them run again, unless following has ended meanwhile."""
        if self.snapshots[0] is _HALTED:
            self.snapshots[0] = None

    def add(
        self,
        key: int,
        offset: int,
        address: int,
        nbytes: int,
        hold: Callable[[], object | None],
        grain: int = 1,
    ) -> bool:
        """Watch memory from now on. False when its owner is gone or the call comes in the middle of another one."""
        owner = hold()
        if owner is None or nbytes <= 0:
            return False
        view = _memoryview(address, nbytes, _READ_ONLY)
        added = self._install(Piece(key, offset, view, hold, told=True, grain=grain))
        del owner  # held until here: its end calls remove, and there must be a piece to remove
        return added

    def put(self, key: int, view: memoryview) -> bool:
        """Have a few bytes more compared, in place of those put there before. Their change only asks for a look."""
        self.remove(key)
        return self._install(Piece(key, 0, view, lambda: view, told=False))

    def _install(self, piece: Piece) -> bool:
        with self.lock:
            if self._busy:
                return False
            self._busy = True
            try:
                piece.slot = self._slot()
                self._by_key[piece.key] = (*self._by_key.get(piece.key, ()), piece)
                whole = slice(None)
                snapshot, view, slot = bytearray(len(piece.view)), piece.view, piece.slot
                # No call in these lines: no other thread runs between the copy and the first comparison.
                snapshot[whole] = view
                self.snapshots[slot] = snapshot
                self.live[slot] = view
            finally:
                self._busy = False
        return True

    def _slot(self) -> int:
        if len(self._free) == len(self.live) - 1:  # all empty, and every removal has come to its end
            del self.live[1:], self.snapshots[1:]
            self._free.clear()
        if self._free:
            return self._free.pop()
        self.live.append(None)
        self.snapshots.append(None)
        return len(self.live) - 1

    def remove(self, key: int) -> None:
        """Stop reading the memory of ``key``: at once, and for whoever is in the middle of a look."""
        for piece in self._by_key.pop(key, ()):
            piece.gone = True
            self.live[piece.slot] = None
            self.snapshots[piece.slot] = None
            self._free.append(piece.slot)

    def renew(self) -> None:
        """Forget what has changed while nobody followed: whose line that was cannot be known. Under the lock."""
        self.take()

    def clear(self) -> None:
        """Remove all."""
        for key in tuple(self._by_key):
            self.remove(key)

    def take(self) -> tuple[list[Difference], list[object] | None]:
        """What has changed since the last look, and the owners held for it: drop those after the lock is given back.

        The owners are None when a destructor asks in the middle of this very function or of ``add``.
        """
        found: list[Difference] = []
        owners: list[object] = []
        if self._busy:
            return found, None
        self._busy = True
        try:
            for pieces in tuple(self._by_key.values()):
                for piece in pieces:
                    self._take(piece, found, owners)
        finally:
            self._busy = False
        return found, owners

    def _take(self, piece: Piece, found: list[Difference], owners: list[object]) -> None:
        slot, view, whole = piece.slot, piece.view, slice(None)
        if piece.gone or self.snapshots[slot] == self.live[slot]:
            return
        owner = _owner(piece)
        if owner is None:
            self.remove(piece.key)
            return
        owners.append(owner)
        fresh = bytearray(len(view))
        # No call from here to the swap: nobody else can write, free or swap between the lines.
        if piece.gone:
            return
        fresh[whole] = view
        old = self.snapshots[slot]
        self.snapshots[slot] = fresh
        if piece.gone:
            self.snapshots[slot] = None
            return
        before, after = bytes(old), bytes(fresh)
        if before != after and piece.told:
            offset, grain = piece.offset, piece.grain
            first, last = differing(before, after)
            first = max((offset + first) // grain * grain - offset, 0)
            last = min(-(-(offset + last) // grain) * grain - offset, len(before))
            found.append(
                Difference(piece.key, offset + first, offset + last, before[first:last], after[first:last])
            )


def _owner(piece: Piece) -> object | None:
    """What keeps the memory alive; None, too, when the question itself fails: unknown memory is not read."""
    try:
        return piece.hold()
    except Exception:
        return None
