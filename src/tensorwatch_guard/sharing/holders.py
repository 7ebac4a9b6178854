"""Who holds shared memory: whether a side of an alias has a holder of its own, so that a write through the other side is seen.

Weak references say whether a storage lives, not whether anybody but the other side keeps it alive. That is read from counts
of references, less those that are known: a storage holds the array it borrows, a view the array that owns the memory.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from .census import overlapping
from .differences import written
from .ledger import Alias, Piece
from .onlookers import Onlookers
from .owners import ArrayOwner, Lender, LentOwner, last_array

if TYPE_CHECKING:
    from ..words import Change, Region, Writer
    from .writes import Writes

MOST_KIN: Final = 256
"""Pieces up to which it is looked for others of one array."""
NOT_HELD: Final[Mapping[int, int]] = {}
_use_count: Final = getattr(torch._C, "_storage_Use_Count", None)


class _Kin(NamedTuple):
    """Another part of the same array that was lent to torch."""

    lender: Lender
    region: Region
    lives: bool
    key: int = -1


class Holders:
    """Answers for the aliases of one session."""

    def __init__(self, writes: Writes) -> None:
        self._writes = weakref.proxy(writes)
        self._onlookers = Onlookers()
        self.exporting = 0
        """The storage that is exported just now, while it is asked for earlier exports."""

    def live(self, since: int = 0) -> dict[tuple[object, ...], int]:
        """How many aliases of each (op, trail's key) can still be written from both sides; ``since`` is a serial number."""
        counts: dict[tuple[object, ...], int] = {}
        for piece in list(self._writes.ledger.pieces.values()):
            for alias in list(piece.aliases.values()):
                if alias.serial > since and self.is_live(alias):
                    key = (alias.op, alias.trail.key)
                    counts[key] = counts.get(key, 0) + 1
        return counts

    def is_live(self, alias: Alias) -> bool:
        """Whether both sides can still be written: each has a holder other than the other side."""
        if alias.closed or alias.piece.hold() is None:
            return False
        storage = alias.storage() if alias.storage is not None else None
        if storage is None:
            return False
        if alias.direction == "tensor->array":
            side = alias.side() if alias.side is not None else None
            return side is not None and _tensors_of(storage) > max(len(self._behind(alias.piece, storage)), 1)
        if alias.direction == "tensor->buffer":
            return self._is_exported(alias)
        return self._lender_held(alias)

    def other_side_held(
        self, alias: Alias, writer: Writer = "unknown", held: Mapping[int, int] = NOT_HELD, change: Change | None = None
    ) -> bool:
        """Whether somebody but the writer can see a write: the side that did not write has a holder.

        ``model(x).numpy()`` leaves an array that nobody shares any more, ``from_numpy(np.ones(3))`` such a tensor. The writer's
        own side may be gone by now: a function returns the tensors and its buffer ends. Also right in the call-back of one
        side's death. ``held``: how often a look of ours holds each piece's owner just now. ``change``: what was written.
        """
        storage = alias.storage() if alias.storage is not None else None
        if alias.direction == "tensor->buffer":
            return (writer == "numpy" and storage is not None) or self._is_exported(alias)
        if alias.direction == "tensor->array":
            if storage is None or (writer == "torch" and self._array_seen(alias)):
                return True
            return bool(self._tensor_sees(alias, storage, change, apart=1))
        sees = self._tensor_sees(alias, storage, change) if writer == "numpy" and storage is not None else None
        if sees is not None:
            return sees
        return self._lender_held(alias, held)

    # -- torch's side --------------------------------------------------------------------------------------------------

    def _tensor_sees(self, alias: Alias, storage: Any, change: Change | None, *, apart: int = 0) -> bool | None:
        """Whether a tensor that does not only stand behind an array sees what was written, or nobody can say; None without any.

        ``apart``: so many there are at least that only stand behind one.
        """
        behind, holders = self._behind(alias.piece, storage), _tensors_of(storage)
        if holders <= max(len(behind), apart):
            return None
        region = alias.piece.region
        if (region.nbytes if change is None else change.last - change.first) >= storage.nbytes():
            return True
        place = (alias.op, *alias.trail.key)
        known = self._onlookers.known(place)
        if known is not None:
            return known
        return self._onlookers.see(place, storage, written(region, change), holders, behind)

    def _behind(self, piece: Piece, storage: Any) -> set[int]:
        """Tensors that only stand behind arrays of this storage (``array.base``); a region may have several storages."""
        behind = [
            alias.side()
            for alias in list(piece.aliases.values())
            if alias.side is not None
            and alias.direction == "tensor->array"
            and alias.storage is not None
            and alias.storage() is storage
        ]
        behind += [
            born.tensor()
            for born in list(self._writes.young.nursery.newborns.values())
            if born.tensor is not None and born.owner is not None and born.owner.ref() is storage
        ]
        return {id(side) for side in behind if side is not None}

    def _array_seen(self, alias: Alias) -> bool:
        """Whether the array of a ``tensor->array`` has a holder. One that was only lent to torch again has none."""
        side = alias.side() if alias.side is not None else None
        if side is None:
            return False
        lent = [
            other
            for other in list(alias.piece.aliases.values())
            if isinstance(other.lender, LentOwner)
            and other.lender.array is not None
            and last_array(other.lender.array).base is side
        ]
        if not lent:
            return True
        arrays = len({id(last_array(other.lender.array)) for other in lent if other.lender and other.lender.array is not None})
        # the arrays, the name here, and the question
        return sys.getrefcount(side) - 2 > arrays or any(self._lender_held(other) for other in lent)

    def _is_exported(self, alias: Alias) -> bool:
        """Whether what a DLPack capsule went to still holds the tensor. Of several the last ones are taken for alive."""
        storage = alias.storage() if alias.storage is not None else None
        if storage is None:
            return False
        alive = self._onlookers.exports((alias.op, *alias.trail.key), storage) - (storage._cdata == self.exporting)
        after = [
            other
            for other in list(alias.piece.aliases.values())
            if other.serial > alias.serial and other.direction == alias.direction and other.storage is not None
        ]
        return bool(alive > sum(other.storage is not None and other.storage() is storage for other in after))

    # -- the other side ------------------------------------------------------------------------------------------------

    def _lender_held(self, alias: Alias, held: Mapping[int, int] = NOT_HELD) -> bool:
        """Whether an array or a buffer has a holder besides the storages that borrow it."""
        if alias.lender is None:
            return alias.buffer is None or alias.buffer.held_elsewhere()
        return self._array_held(alias, held)

    def _array_held(self, alias: Alias, held: Mapping[int, int]) -> bool:  # noqa: C901 - one count
        """What goes beyond the references of storages, of their lenders here and of views is the user's."""
        passed = alias.lender.array if alias.lender is not None else None
        if passed is None:
            return False
        owner, piece = last_array(passed), alias.piece
        kin = self._kin(owner, piece)
        if any(other.lives and overlapping(other.region, piece.region) is not False for other in kin):
            return True  # another tensor sees these bytes
        own = {id(lender): lender for other in list(piece.aliases.values()) if (lender := other.lender) is not None}
        own[id(alias.lender)] = alias.lender  # type: ignore[assignment]
        lent: dict[int, int] = {}
        arrays: list[Any] = []
        asked: list[Any] = []
        array = None
        for lender, is_own in (*((one, True) for one in own.values()), *((other.lender, False) for other in kin)):
            array = lender.array
            if array is None or last_array(array) is not owner:
                continue
            if id(array) not in lent:
                arrays.append(array)
                if is_own:
                    asked.append(array)
            lent[id(array)] = lent.get(id(array), 0) + 2  # the storage and its lender
        del passed, array
        by_us = 0
        if isinstance(piece.owner, ArrayOwner):  # else a look holds a storage, no array
            by_us = sum(held.get(key, 0) for key in {piece.key, *(other.key for other in kin)})
        itself = id(owner) in lent  # then the list has it, and the other arrays are views of it
        in_asked = any(array is owner for array in asked)
        ours = 2 + by_us + itself + in_asked
        if sys.getrefcount(owner) - ours > lent.get(id(owner), 0) + len(arrays) - itself:
            return True
        for array in asked:
            # the two lists, the name here, and the question
            if array is not owner and sys.getrefcount(array) - 4 > lent[id(array)]:
                return True
        return owner.base is not None and _foreign_held(owner.base)

    def _kin(self, owner: Any, piece: Piece) -> list[_Kin]:
        """Other parts of an array that were lent; none where there are too many to look for them at each write."""
        writes = self._writes
        pieces, newborns = writes.ledger.pieces, writes.young.nursery.newborns
        found: list[_Kin] = []
        if len(pieces) > MOST_KIN:
            return found
        for other in list(pieces.values()):
            if other is piece:
                continue
            for alias in list(other.aliases.values()):
                lender = alias.lender
                if lender is not None and lender.array is not None and last_array(lender.array) is owner:
                    lives = alias.storage is not None and alias.storage() is not None
                    found.append(_Kin(lender, other.region, lives, other.key))
        young = [born for born in list(newborns.values()) if isinstance(born.owner, ArrayOwner)]
        found += [
            _Kin(lender, born.region, lender.ref() is not None)
            for born in young
            if isinstance(lender := born.owner, ArrayOwner)
            and lender.array is not None
            and last_array(lender.array) is owner
        ]
        return found


def _tensors_of(storage: Any) -> int:
    """Tensors that hold a storage; its own Python object counts as one and is left out."""
    return _use_count(storage._cdata) - 1 if _use_count is not None else sys.maxsize


def _foreign_held(lender: object) -> bool:
    """Whether memory that an array only borrows is seen by others: immutable by contract, so each write to it matters.

    Arrow's Python objects are handles: a table holds the same memory without a reference to any of them.
    """
    if type(lender) is bytes:
        return sys.getrefcount(lender) > 3  # the array, the name here, and the question
    return type(lender).__module__.partition(".")[0] == "pyarrow"
