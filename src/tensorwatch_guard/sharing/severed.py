"""Sharings that are silently ended: the tensor got other memory, and the array that was handed out keeps the old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..sites import Trail
    from .ledger import Alias
    from .moments import Moment
    from .writes import Writes

MOST_CUTS: Final = 20


class Severed:
    """Asked on both sides of ``tensor.data = other``, and told of ``share_memory_``."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self.cuts: dict[tuple[object, ...], list[Trail]] = {}
        """Where the sharing of live aliases was ended, by (op, trail's key)."""

    def ties(self, address: int, moment: Moment) -> list[Alias]:
        """The aliases of a storage that can be written from both sides: its tensor is about to get other memory."""
        writes = self._writes
        with writes.lock:
            born = writes.young.nursery.at(address)
            if born is not None:
                writes.young.adopt(born, moment)
            known = [alias for piece in writes.ledger.at(address) for alias in list(piece.aliases.values())]
            return [alias for alias in known if writes.holders.is_live(alias)]

    def cut(self, ties: list[Alias], at: Trail) -> None:
        """It has got it: those that can be written from both sides no longer were severed here."""
        with self._writes.lock:
            self.note([alias for alias in ties if not self._writes.holders.is_live(alias)], at)

    def note(self, ended: list[Alias], at: Trail) -> None:
        """These were severed there."""
        for alias in ended:
            known = self.cuts.setdefault((alias.op, alias.trail.key), [])
            if len(known) < MOST_CUTS:
                known.append(at)
