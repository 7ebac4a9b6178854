"""Memory is handed out from one side to the other: how it comes into the ledger, and from when on it is compared.

What is known of the same memory is brought up to date first: what was written before is nothing of the new alias's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..words import Region
from .deaths import Death
from .differences import has_gaps
from .fingerprints import BLOCK
from .ledger import Alias, Piece, version_probe
from .moments import Moment
from .nursery import Newborn
from .owners import BorrowedOwner, Lender, Owner
from .versions import Noted

if TYPE_CHECKING:
    from .writes import Writes


@dataclass(frozen=True, slots=True)
class HandedOut:
    """``region`` of ``storage``, handed out at ``moment``."""

    op: str
    direction: str
    moment: Moment
    storage: torch.UntypedStorage
    region: Region
    owner: Callable[[], Owner]
    """Whose life the memory's is, asked only where it is new."""
    side: torch.Tensor | None
    """The tensor behind an array that was handed out; it dies with the array and all its views."""
    file_backed: bool = False
    watch: bool = True
    """Whether its contents are compared."""
    tensor: torch.Tensor | None = None
    """Any tensor of the storage, for its version counter."""
    born: Newborn | None = None
    """It was handed out a while ago, and is taken over now."""
    seen: Moment | None = None
    """When it was taken over."""

    @property
    def now(self) -> Moment:
        """When it comes into the ledger."""
        return self.seen or self.moment


def hand_out(writes: Writes, one: HandedOut) -> Alias:
    """Enter it. The caller holds the lock."""
    address, escalation = one.storage.data_ptr(), writes.escalation
    twin = writes.young.nursery.at(address)
    if twin is not None:
        writes.young.adopt(twin, one.now)
    if escalation is not None:
        escalation.before_look(one.now)
    if one.born is None:
        _told_before(writes, one, address)
    alias, is_new = _entered(writes, one, address)
    if is_new and one.watch:
        _watched(writes, one, alias.piece)
    if one.born is not None and one.watch:
        _taken_over(writes, alias, one.born, address, one.now)
    if one.born is None:
        writes.passes.noted(one.moment)
    if escalation is not None and one.watch:
        escalation.shared(alias, one.moment)
        escalation.after_look(one.now)
    return alias


def _told_before(writes: Writes, one: HandedOut, address: int) -> None:
    """What was written to known memory until now."""
    writes.holders.exporting = one.storage._cdata if one.direction == "tensor->buffer" else 0
    writes.look_beside(address, one.now)
    writes.holders.exporting = 0


def _entered(writes: Writes, one: HandedOut, address: int) -> tuple[Alias, bool]:
    """Its alias, and whether nobody shared the memory before."""
    ledger, region, born = writes.ledger, one.region, one.born
    stale = ledger.stale(region)
    if stale is not None:
        writes.forget(stale)
    piece, is_new = ledger.piece(region, one.owner, one.file_backed)
    ledger.stand_at(piece, address)
    alias = ledger.enter(piece, one.op, one.direction, one.moment.trail, one.moment)
    alias.storage = weakref.ref(one.storage, Death(writes.deaths, alias))
    if one.side is not None:
        alias.side = weakref.ref(one.side, Death(writes.deaths, alias))
    if one.direction in ("array->tensor", "buffer->tensor"):
        lent = piece.owner if is_new else one.owner()
        if one.direction == "array->tensor":
            alias.lender = lent if isinstance(lent, Lender) else None
        else:
            alias.buffer = lent if isinstance(lent, BorrowedOwner) else None
    if born is not None:
        alias.probe, alias.version = born.probe, born.version
    else:
        alias.probe = version_probe(one.tensor) if one.tensor is not None else None
        alias.version = alias.probe._version if alias.probe is not None else 0
        if writes.data_views:
            writes.data_views.handed_out(region.address, region.address + region.nbytes, ledger.at(address))
    return alias, is_new


def _watched(writes: Writes, one: HandedOut, piece: Piece) -> None:
    """Its contents are remembered, if they can be held."""
    if piece.owner.may_move and piece.hold() is None:
        return
    region, contents = one.region, writes.contents
    piece.partial = region.nbytes < one.storage.nbytes() or (one.direction.startswith("tensor->") and has_gaps(region))
    noted = Noted(piece) if piece.partial else None
    contents.add(piece.key, region, piece.hold, file_backed=one.file_backed, stamp=one.now, ask=noted)
    if region.nbytes > BLOCK:  # its first fingerprint, as far as the time budget goes
        contents.look((piece.key,), stamp=one.moment)


def _taken_over(writes: Writes, alias: Alias, born: Newborn, address: int, seen: Moment) -> None:
    """What was written since a birth is told now."""
    piece = alias.piece
    piece.torch_wrote = piece.torch_wrote or born.torch_wrote
    if piece.key not in writes.look_beside(address, seen):  # known memory may look as it did before the birth
        alias.version = born.version  # that look was none at what it held at birth
        change = writes.young.since_birth(piece, born)
        if change is not None:
            writes.verdicts.report([(change, born.seen)], seen)
