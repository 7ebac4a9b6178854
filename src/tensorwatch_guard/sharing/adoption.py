"""From the nursery to the ledger: what becomes of small aliases that did not die at once.

A newborn is looked at in the nursery, against the copy made at its birth. It is adopted (a piece, an alias, contents of
their own) when it was written, when its memory is handed out again, when something is followed, or when the nursery is full.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from ..sites import Trail, trail
from ..words import Change, Writer
from .copies import GLANCE
from .differences import differing_span
from .handing_out import HandedOut
from .ledger import Alias, Piece
from .moments import Moment, Mutation, Stamp, moment_of, now
from .nursery import Line, Newborn, Nursery
from .owners import ArrayOwner, Owner

if TYPE_CHECKING:
    from .writes import Writes

ROOM: Final = 64
"""Newborns the nursery keeps; then the oldest are adopted."""


class Adoption:
    """The nursery of a session and the way out of it."""

    def __init__(self, writes: Writes) -> None:
        self._writes = weakref.proxy(writes)
        self.nursery = Nursery(self._died_young)
        self.compares = True
        """False where writes are not looked for: newborns have no copy."""

    def __bool__(self) -> bool:
        return bool(self.nursery.newborns)

    def bear(
        self,
        op: str,
        direction: str,
        at: Trail | tuple[CodeType, int],
        tensor: torch.Tensor,
        array: np.ndarray[Any, Any] | None,
        line: Line,
    ) -> None:
        """The short way of a small alias; memory that is known already is looked at first, in its own room."""
        nursery = self.nursery
        moment = None
        if nursery.newborns and (len(nursery.newborns) >= ROOM or nursery.at(tensor.data_ptr()) is not None):
            moment = now(at if isinstance(at, Trail) else Trail(*at, None, -1))
            with self._writes.lock:
                self.adopt_all(moment)
            self._writes.passes.noted(moment)
        elif self._writes.ledger.pieces and self._writes.ledger.at(address := tensor.untyped_storage().data_ptr()):
            moment = now(at if isinstance(at, Trail) else Trail(*at, None, -1))
            self._writes.look_at(address, moment)  # what was written before is nothing of the new alias's
        data_views = self._writes.data_views
        if data_views:
            address = tensor.data_ptr()
            data_views.handed_out(address, address + tensor.nbytes, self._writes.ledger.at(address))
        serial = nursery.add(op, direction, at, tensor, array, line, self.compares)
        if moment is None:
            code, lasti = (at.code, at.lasti) if isinstance(at, Trail) else at
            self._writes.passes.note(code, lasti, serial)

    def look(self, moment: Moment) -> None:
        """A boundary: adopt what was written or may be followed, and note of the rest that it was not written."""
        attention = self._writes.attention
        for born in list(self.nursery.newborns.values()):
            if not (attention.awake and attention.is_for(born.trail.key)) and born.is_there() and not born.changed():
                born.is_as_it_was(moment)
            else:
                self.adopt(born, moment)

    def look_at(self, address: int, stamp: Stamp) -> bool:
        """Whether the newborn at the beginning of a storage and the next in turn are as they were."""
        nursery = self.nursery
        born = nursery.by_address.get(address)
        if born is not None and not (born.is_there() and not born.changed()):
            return False
        born = nursery.next()
        if born is None or len(born.copy) > GLANCE:
            return True
        if born.is_there() and not born.changed():
            born.is_as_it_was(stamp)
            return True
        return False

    def adopt_written(self, moment: Moment, most: int) -> None:
        """Take over those of up to ``most`` bytes that were written."""
        for born in list(self.nursery.newborns.values()):
            if len(born.copy) <= most and born.changed():
                self.adopt(born, moment)

    def adopt_followed(self, moment: Moment) -> None:
        """Take over what may be followed."""
        attention = self._writes.attention
        if attention.awake:
            for born in list(self.nursery.newborns.values()):
                if attention.is_for(born.trail.key):
                    self.adopt(born, moment)

    def adopt_all(self, moment: Moment) -> None:
        """Take over everything."""
        for born in list(self.nursery.newborns.values()):
            self.adopt(born, moment)

    def adopt(self, born: Newborn, moment: Moment) -> None:
        """Take over one. The copy made at birth says whether it was written since."""
        if not self.nursery.leave(born):
            return
        owner = born.owner
        storage = owner.ref() if owner is not None else None
        side = born.tensor() if born.tensor is not None else None
        if owner is None or storage is None or (born.tensor is not None and side is None):
            return
        if not born.is_there():
            self._moved_young(born, moment)
            return
        birth = Moment(born.trail, born.ident, born.sequence, 0, born.serial)
        self._writes.share(HandedOut(
            born.op, born.direction, birth, storage, born.region, _just(owner), side,
            watch=self.compares, born=born, seen=moment,
        ))

    def since_birth(self, piece: Piece, born: Newborn) -> Change | None:
        """What was written between a newborn's last look and now."""
        if born.view is None:
            return None
        contents = bytes(born.view)
        if contents == born.copy:
            return None
        span = differing_span(born.region, born.copy, contents, gaps=False)
        if span is None:
            return None
        first, last = span
        return Change(piece.key, first, last, bytes(born.copy[first:last]), contents[first:last])

    def _moved_young(self, born: Newborn, moment: Moment) -> None:
        """A newborn's owner has other memory now: what was handed out points to memory that is gone."""
        piece = Piece(0, born.region, _GONE, False)
        piece.aliases[0] = Alias(0, born.op, born.direction, born.trail, None, piece)
        left = moment.trail.code is None
        self._writes.tell_moved(piece, moment_of(born.seen) if left else moment, left)

    def _died_young(self, born: Newborn) -> None:
        """A newborn's memory was written, and then one side died."""
        try:
            self._last_words(born)
        finally:
            if isinstance(born.owner, ArrayOwner):
                born.owner.let_go()  # what is told keeps the owner, and NumPy resizes no array that somebody else holds

    def _last_words(self, born: Newborn) -> None:
        piece = Piece(0, born.region, born.owner or _GONE, False)
        change = self.since_birth(piece, born)
        if change is None:
            return
        alias = Alias(0, born.op, born.direction, born.trail, moment_of(born.seen), piece)
        alias.storage = weakref.ref(storage) if (storage := born.owner.ref() if born.owner is not None else None) else None
        alias.lender = born.owner if isinstance(born.owner, ArrayOwner) else None
        piece.aliases[0] = alias
        if not self._writes.holders.other_side_held(alias):
            return
        before, after = moment_of(born.seen), now(trail(sys._getframe(2)))
        writer = self._writer(born, piece, change, before, after)
        mutation = Mutation(piece, change, writer, before, after, False, "", (alias,), unseen=writer != "torch")
        self._writes.verdicts.inexact(mutation)

    def _writer(self, born: Newborn, piece: Piece, change: Change, before: Moment, after: Moment) -> Writer:
        counters, ledger = self._writes.counters, self._writes.ledger
        low, high = born.address + change.first, born.address + change.last
        counters.began()
        if born.probe is not None and born.probe._version != born.version:
            counters.wrote(ledger, born, low, high)
            return "torch"
        if self._writes.silent.covers(low, high) or self._writes.data_views.wrote(piece):
            return "torch"
        if born.probe is None or self._writes.data_views.blind.hides_writes(before.trail, after.trail):
            return "unknown"
        writer: Writer = counters.elsewhere(ledger, born, low, high)
        return writer


def _just(owner: Owner) -> Callable[[], Owner]:
    return lambda: owner


class _Gone:
    """The owner of memory that is not there any more."""

    address = 0
    file = None
    may_move = False

    def ask(self) -> None:
        return None

    def hold(self) -> None:
        return None


_GONE: Final[Any] = _Gone()
