"""Autograd's version counters as witnesses: did PyTorch write to some memory since it was last looked at?

Each storage has a counter of its own, and memory of several storages may overlap (two ``from_numpy`` of one array, or of its
parts). So the counters of what overlaps are asked, too, before a write is put to NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..words import Writer
from .ledger import Alias
from .moments import tick
from .nursery import Newborn

if TYPE_CHECKING:
    from .ledger import Ledger, Piece
    from .nursery import Nursery

    Shared = Piece | Newborn

MOST_COMPARED: Final = 20_000
"""Pieces that one report may go through in search of others that overlap."""


class Counters:
    """What the counters of all live aliases say. ``[low, high)`` are the addresses that changed."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._round = 1
        self._compared = 0
        self.movers: frozenset[int] | None = None
        """Storages whose counters were found moved when last asked; None where some storage is not known."""

    def began(self) -> None:
        """Changes are about to be told: what torch is found to have written in one report is one write."""
        self._round += 1
        self._compared = 0

    def moved(self, ledger: Ledger, piece: Piece, low: int, high: int) -> tuple[bool, bool]:
        """Whether a counter of this piece moved since it was noted, and whether there is one."""
        moved = known = False
        movers: list[int] | None = []
        for witness in piece.witnesses:
            if witness.probe is None:
                continue
            known = known or isinstance(witness, Alias)
            version = witness.probe._version
            if version != witness.version:
                witness.version = version
                moved = True
                storage = witness.storage() if witness.storage is not None else None
                movers = [*movers, storage._cdata] if movers is not None and storage is not None else None
        if moved:
            self.wrote(ledger, piece, low, high)
        self.movers = frozenset(movers) if movers else None
        return moved, known

    def asked_of_one(self, piece: Piece) -> None:
        """One write is asked for, of perhaps several since the counters were noted: of the others nothing else tells."""
        if any(one.probe is not None and one.probe._version > one.version + 1 for one in piece.witnesses):
            piece.torch_again = tick()

    def wrote(self, ledger: Ledger, shared: Shared, low: int, high: int) -> None:
        """Torch wrote, and the counters of what overlaps did not move."""
        for other in self._beside(ledger, shared, low, high):
            other.torch_wrote = self._round

    def elsewhere(self, ledger: Ledger, shared: Shared, low: int, high: int, *, exact: bool = False) -> Writer:
        """Who wrote where the own counter did not move: NumPy, unless a counter of what overlaps did.

        ``exact``: asked right after the write, not about an interval in which there may have been several.
        """
        told, shared.torch_wrote = shared.torch_wrote, 0
        if told:
            return "torch" if exact or told == self._round else "unknown"
        return "torch" if any(_has_moved(other) for other in self._beside(ledger, shared, low, high)) else "numpy"

    def stands_alone(self, ledger: Ledger, piece: Piece) -> bool:
        """Whether no other counter than those that moved stands for these bytes: then autograd knows of the write."""
        storages = (alias.storage() for alias in list(piece.aliases.values()) if alias.storage is not None)
        if any(storage is not None and storage._cdata not in (self.movers or ()) for storage in storages):
            return False
        return next(self._beside(ledger, piece, piece.region.address, piece.end), None) is None

    def _beside(self, ledger: Ledger, shared: Shared, low: int, high: int) -> Iterator[Shared]:
        for born in list(self._nursery.newborns.values()):
            if born is not shared and born.address < high and low < born.address + born.nbytes:
                yield born
        if len(ledger.pieces) > (not isinstance(shared, Newborn)) and self._compared < MOST_COMPARED:
            self._compared += len(ledger.pieces)
            for other in ledger.overlapping(low, high):
                if other is not shared:
                    yield other


def _has_moved(shared: Shared) -> bool:
    witnesses = (shared,) if isinstance(shared, Newborn) else shared.witnesses
    return any(one.probe is not None and one.probe._version != one.version for one in witnesses)
