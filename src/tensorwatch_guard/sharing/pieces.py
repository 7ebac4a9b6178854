"""The watched pieces of memory and what they held when last looked at, so that one C comparison asks them all.

``snapshots != live`` compares a list of bytearrays with a list of memoryviews without running a line of Python, so
under the interpreter lock nothing can free the memory meanwhile. The bytearray must stand on the left: the other way
round memoryview compares element by element, 90 times slower. Slots never move: taking a piece out empties its slot,
and an empty slot costs a few nanoseconds because both lists then hold the same object.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import Counter
from dataclasses import dataclass
from functools import partial
from operator import setitem
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..sites import from_signal_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from .versions import Versions

_READ_ONLY: Final = 0x100
RESTING: Final = "resting"
"""In slot 0 while nobody follows."""
_FIRST: Final = 2
"""The first slot that is memory. In slot 1 is what is asked ahead of it, if there is any."""
_HALTED: Final = "halted"
"""In slot 0 while somebody looks: whoever comes to the end of a line waits."""


# An own function object: argument types set on ctypes.pythonapi's would be seen by everybody in the process.
_memoryview: Final = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)


STAYS: Final = 0
RESIZED: Final = 1
MOVES: Final = 2
"""Whether a piece's memory may go while its owner lives: only by a line at which following stood aside, or at any time."""


@dataclass(slots=True, eq=False)
class Piece:
    """Watched memory that begins at ``offset`` in its key's region. Changes of an untold piece are no writes."""

    key: int
    offset: int
    view: memoryview
    hold: Callable[[], object | None]
    told: bool
    grain: int = 1
    moves: int = STAYS
    aside: bytearray | None = None
    """What it held, while it is not compared."""
    slot: int = 0
    gone: bool = False
    guard: weakref.ref[Any] | None = None


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

    ``add``, ``put`` and ``take`` are for who has entered; ``remove`` may come at any moment, from weak reference
    callbacks and in the middle of the others. Slot 0 is no memory: while it differs, every trace function looks
    closer, finds out that following has ended and lets go, or waits for the look that is under way.
    """

    def __init__(self) -> None:
        self.live: list[Any] = [None, None]
        self.snapshots: list[Any] = [RESTING, None]
        self.held: Counter[int] = Counter()
        """By key, how many of the owners that the last ``take`` gave back are this piece's."""
        self._by_key: dict[int, tuple[Piece, ...]] = {}
        self._free: list[int] = []
        self._lock = threading.Lock()
        self._inside: dict[int, threading.Lock] = {}
        self.lets_resize = False
        """Whether a line that resizes an array is known: its memory is set aside then."""

    def __bool__(self) -> bool:
        return any(pieces[0].told for pieces in tuple(self._by_key.values()))

    def enter(self, patience: float) -> bool:
        """Be the only one to add and look; False after ``patience`` seconds, or if this thread is inside already."""
        me = get_ident()
        if me in self._inside:
            return False
        lock = self._inside[me] = self._lock
        try:
            entered = lock.acquire(timeout=patience) if patience else lock.acquire(blocking=False)
        except BaseException:  # the user's, from a signal handler
            self._inside.pop(me, None)
            raise
        if not entered:
            self._inside.pop(me, None)
        return entered

    def leave(self) -> None:
        """Let others enter."""
        self._inside.pop(get_ident()).release()

    def within(self) -> bool:
        """Whether it is this thread that has entered: a destructor may ask in the middle of anything."""
        return get_ident() in self._inside

    def forget_lock(self) -> None:
        """Do without the one inside, who will not come out: a thread that a fork left behind, or that is stuck."""
        self._lock = threading.Lock()

    @property
    def resting(self) -> bool:
        """True while nobody follows."""
        return self.snapshots[0] is RESTING

    def rest(self) -> None:
        """Make every comparison differ: whoever still follows lets go at its next line."""
        self.snapshots[0] = RESTING

    def wake(self) -> None:
        """Let comparisons tell the truth again."""
        self.snapshots[0] = None

    def halt(self) -> None:
        """Have every thread wait at the end of its line, whether memory has changed or not."""
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
        moves: int = STAYS,
    ) -> bool:
        """Watch memory from now on. False when its owner is gone."""
        owner = hold()
        if owner is None or nbytes <= 0:
            return False
        view = _memoryview(address, nbytes, _READ_ONLY)
        added = self._install(Piece(key, offset, view, hold, told=True, grain=grain, moves=moves), owner)
        del owner  # held until here: its end calls remove, and there must be a piece to remove
        return added

    def ask_first(self, versions: Versions | None) -> None:
        """Let each comparison begin with these; with none again."""
        if versions is None:  # in this order: what is equal to everything covers the change
            self.live[1] = None
            self.snapshots[1] = None
        else:
            self.snapshots[1] = versions
            self.live[1] = RESTING

    def put(self, key: int, view: memoryview) -> bool:
        """Have a few bytes more compared, in place of those put there before. Their change only asks for a look."""
        self.remove(key)
        return self._install(Piece(key, 0, view, lambda: view, told=False), None)

    def _install(self, piece: Piece, owner: object | None) -> bool:
        piece.slot = self._slot()
        if not (self.lets_resize and isinstance(owner, np.ndarray)):  # its ``resize`` counts weak references
            piece.guard = _guard(owner, self.live, piece.slot)
        self._by_key[piece.key] = (*self._by_key.get(piece.key, ()), piece)
        whole = slice(None)
        snapshot, view, slot = bytearray(len(piece.view)), piece.view, piece.slot
        # No call in these lines: no other thread runs between the copy and the first comparison.
        snapshot[whole] = view
        self.snapshots[slot] = snapshot
        self.live[slot] = view
        if piece.gone:  # removed while it stood in no slot yet
            self.live[slot] = None
            self.snapshots[slot] = None
        return not piece.gone

    def _slot(self) -> int:
        if len(self._free) == len(self.live) - _FIRST:  # all empty, and every removal has come to its end
            del self.live[_FIRST:], self.snapshots[_FIRST:]
            self._free.clear()
        if self._free:
            return self._free.pop()
        self.live.append(None)
        self.snapshots.append(None)
        return len(self.live) - 1

    def remove(self, key: int) -> None:
        """Stop reading the memory of ``key``: at once, and for whoever is in the middle of a look."""
        for piece in self._by_key.pop(key, ()):
            if piece.gone:
                continue
            piece.gone = True
            piece.guard = None
            self.live[piece.slot] = None
            self.snapshots[piece.slot] = None
            self._free.append(piece.slot)

    def clear(self) -> None:
        """Remove all."""
        for key in tuple(self._by_key):
            self.remove(key)

    def take(self) -> tuple[list[Difference], list[object]]:
        """What has changed since the last look, and the owners held for it: drop those after leaving."""
        found: list[Difference] = []
        owners: list[object] = []
        self.held.clear()
        for pieces in tuple(self._by_key.values()):
            for piece in pieces:
                self._take(piece, found, owners)
        for slot in tuple(self._free):  # a guard that was called after its piece was removed: both hang on one death
            if self.live[slot] is not None:
                self.live[slot] = self.snapshots[slot] = None
        return found, owners

    def _take(self, piece: Piece, found: list[Difference], owners: list[object]) -> None:
        slot, view, whole = piece.slot, piece.view, slice(None)
        if piece.gone or (piece.moves == MOVES and not self._is_still_there(piece)):
            return
        if self.snapshots[slot] == self.live[slot]:
            return
        owner = _owner(piece)
        if owner is None or self.live[slot] is not view:
            self.remove(piece.key)
            return
        owners.append(owner)
        self.held[piece.key] += 1
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

    def set_aside(self) -> None:
        """A line is begun that may resize an array: until somebody takes them back nobody reads the memory of any."""
        for piece in self._of_arrays():
            slot = piece.slot
            if piece.aside is None:
                piece.aside = self.snapshots[slot]
                self.live[slot] = None
                self.snapshots[slot] = None

    def take_back(self) -> None:
        """It is over."""
        for piece in self._of_arrays():
            if piece.aside is not None and self._is_still_there(piece):
                slot, snapshot, piece.aside = piece.slot, piece.aside, None
                self.snapshots[slot] = snapshot
                self.live[slot] = piece.view

    def _of_arrays(self) -> list[Piece]:
        every = (piece for pieces in tuple(self._by_key.values()) for piece in pieces)
        return [piece for piece in every if piece.moves == RESIZED and not piece.gone]

    def _is_still_there(self, piece: Piece) -> bool:
        there = _owner(piece) is not None
        if not there:
            self.remove(piece.key)
        return there


def _guard(owner: object | None, live: list[Any], slot: int) -> weakref.ref[Any] | None:
    """Take memory out of the comparison the moment its owner dies, without running a line of Python for it.

    NumPy 2.5 frees an array's memory before it calls weak references back, up to 2.4 it was the other way round. The
    newest reference is called first, so this one comes before that of whoever asked to watch; what it puts into the
    slot equals nothing, and the next look removes the piece.
    """
    try:
        return weakref.ref(owner, partial(setitem, live, slot))
    except TypeError:  # no weak references to this one: the caller removes the piece in time
        return None


def _owner(piece: Piece) -> object | None:
    """What keeps the memory alive; None, too, when the question itself fails: unknown memory is not read."""
    try:
        return piece.hold()
    except Exception as error:
        if from_signal_handler(error):
            raise
        return None
