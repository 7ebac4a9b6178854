"""When shared memory is looked at: the engine between the ledger and the contents.

At boundaries everything shared is compared with what was remembered, at other events only the memory at hand and the next
few. What a difference means is the business of ``verdicts``, what becomes of a side that ends that of ``deaths``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from threading import get_ident
from types import CodeType
from typing import Any, Final

import torch

from ..sites import Trail
from ..words import Change
from .adoption import Adoption
from .attention import Attention
from .backing import ask_of_borrowed, forget_mapped
from .contents import Contents
from .copies import GLANCE
from .counters import Counters
from .data_views import DataViews
from .deaths import Deaths
from .escalation import Escalation
from .graph import sequence_number
from .handing_out import HandedOut, hand_out
from .holders import Holders
from .ledger import Alias, Ledger, Piece
from .moments import Moment, Mutation, Stamp, moment_of, tick
from .nursery import BIRTH_SIZE
from .owners import MOVED
from .pace import Pace
from .passes import Passes
from .severed import Severed
from .silent import Silent
from .verdicts import Verdicts
from .written import AsyncPages

MOST_WHOLE: Final = 32
EXACT_COPIES: Final = 1 << 20
"""Bytes up to which memory is remembered as a copy under exact mode: blocks of hashes cannot say how far a write went."""


class Writes:
    """The live shared memory of a process. ``tell`` gets each mutation, ``tell_moved`` each owner found elsewhere."""

    def __init__(
        self, tell: Callable[[Mutation], None], tell_moved: Callable[[Piece, Moment, bool], None], share: float, mode: str
    ) -> None:
        self.ledger = Ledger()
        self.contents = Contents(share=share, pages=AsyncPages())
        self.attention = Attention()
        self.pace = Pace(share)
        self.escalation: Escalation | None = None
        self.data_views = DataViews()
        ask_of_borrowed(self._may_read)
        self.verdicts = Verdicts(self, tell)
        self.deaths = Deaths(self)
        self.young = Adoption(self)
        self.passes = Passes(self.pace)
        self._event = 0
        """Serial number of the event that the short way began and the long way ends."""
        self.follow(mode)
        self.lock = threading.RLock()
        self.counters = Counters(self.young.nursery)
        self.tell_moved = tell_moved
        self.is_left = False
        self._whole = MOST_WHOLE
        """Events that may still look at everything although they are no boundaries; each boundary gives one back."""
        self.severed = Severed(self)
        self.holders = Holders(self)
        self.silent = Silent()
        """Set while a torch call runs that writes without a trace in a version counter."""

    def follow(self, mode: str) -> None:
        """Follow writes as the ``writes`` option says; may be raised while pieces are alive."""
        self.young.compares = mode != "off"
        if mode not in ("auto", "exact"):
            return
        if self.escalation is None:
            self.escalation = Escalation(
                mode, self.attention, lambda: self.ledger.pieces, self.verdicts.exact, self.verdicts.writer_now,
                self.contents.seen, self.pace.hold,
            )
            self.pace.may_rest_again = self.escalation.has_settled
        else:
            self.escalation.raise_to(mode)
        if mode == "exact":
            self.pace.stay_awake()
            self.contents.copies_up_to = EXACT_COPIES
            self.escalation.follow_all()

    def share(self, one: HandedOut) -> Alias:
        """Memory was handed out; what was written to it before is told."""
        with self.lock:
            return hand_out(self, one)

    # -- looking -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """At a boundary that rests: how old a write through ``.data`` is cannot be made up for."""
        with self.lock:
            self.data_views.settle()

    def look_at(self, address: int, moment: Moment) -> None:
        """The memory of one storage is about to be handed out once more."""
        with self.lock:
            if self.escalation is not None:
                self.escalation.before_look(moment)
            self.look_beside(address, moment)
            self.passes.noted(moment)
            if self.escalation is not None:
                self.escalation.after_look(moment)

    def boundary(self, moment: Moment, *, whole: bool = False) -> None:
        """Compare everything, within the budget. ``whole``: whatever time it takes."""
        self._whole = min(self._whole + 1, MOST_WHOLE)
        with self.lock:
            self._begin_look(moment)
            if self.ledger.pieces:
                cut = self.contents.looks_cut
                found = self.contents.look(None, stamp=moment, whole=whole)
                self._check_owners(moment)
                self.verdicts.report(found, moment)
                if self.contents.looks_cut == cut:
                    self.ledger.note_versions()
            self._end_look(moment)

    def torch_boundary(self, moment: Moment) -> None:
        """Compare only what torch itself may write here: memory of tensors that was handed out."""
        if not self.ledger.torch_side and not self.young and not self.attention.awake:
            self.silent.end()
            self.passes.noted(moment)
            return
        with self.lock:
            self.verdicts.in_span = True
            self._begin_look(moment)
            if self.ledger.torch_side:
                self._compare(list(self.ledger.torch_side), moment)
            self.verdicts.in_span = False
            self._end_look(moment)

    def _begin_look(self, moment: Moment) -> None:
        self.deaths.bury()
        if self.data_views:
            self.data_views.settle()
        if self.young:
            self.young.look(moment)
        if self.escalation is not None:
            self.escalation.before_look(moment)

    def _end_look(self, moment: Moment) -> None:
        self.passes.noted(moment)
        self.silent.end()
        if self.escalation is not None:
            if self.young and self.escalation.begins_at(moment.key):
                self.young.adopt_all(moment)
            self.escalation.after_look(moment)

    def peek(self, address: int | None, moment: Moment) -> None:
        """An event that is no boundary: the memory at hand (by its storage's address) and the next few in turn."""
        if self._event:
            moment, self._event = moment._replace(serial=self._event), 0
        with self.lock:
            whole = self._whole > 0 and self._large()
            self._whole -= whole
            if self.young:
                born = self.young.nursery.at(address) if address is not None else None
                self.young.adopt_followed(moment)
                if born is not None:
                    self.young.adopt(born, moment)
                self.young.adopt_written(moment, BIRTH_SIZE if whole else GLANCE)
            if self.escalation is not None:
                self.escalation.before_look(moment)
            found: list[tuple[Change, Any]] = []
            if address is not None:
                for piece in self.ledger.at(address):
                    found += self.contents.look((piece.key,), stamp=moment)
            found += self.contents.look(None, stamp=moment, due=False) if whole else self.contents.peek(None, stamp=moment)
            if found:
                self._report(found, moment)
            self.passes.noted(moment)
            if self.escalation is not None:
                self.escalation.after_look(moment)

    def glance(self, address: int, code: CodeType, lasti: int, at: Trail | None) -> bool:
        """The short way of ``peek``: False where something differs or is followed, and the long way has to be taken."""
        if self.attention.awake or (self._whole and self._large()):
            return False
        serial, thread, sequence = tick(), get_ident(), sequence_number()
        stamp: Stamp = (code, lasti, thread, sequence, serial) if at is None else Moment(at, thread, sequence, 0, serial)
        if self.young.nursery.newborns and not self.young.look_at(address, stamp):
            self._event = serial
            return False
        if self.ledger.pieces:
            found = self.contents.peek(self.ledger.first_at(address), stamp=stamp)
            if found:
                with self.lock:
                    self._report(found, moment_of(stamp))
        self.passes.note(code, lasti, serial)
        return True

    def _report(self, found: list[tuple[Change, Any]], moment: Moment) -> None:
        """Tell what differs, and look at what else is shared of those storages: their counters are read now."""
        self.verdicts.report(found, moment)
        known = {change.key for change, _ in found}
        pieces = [piece for key in known if (piece := self.ledger.pieces.get(key)) is not None]
        beside = {other.key for piece in pieces for other in self.ledger.at(getattr(piece.owner, "address", 0))}
        if beside - known:
            self._compare(beside - known, moment)
        self.ledger.note_versions(beside | known)

    def passes_by(self, address: int, code: CodeType, lasti: int) -> bool:
        """A read of memory that nobody shares, while nothing is followed: only its passing is noted. False: look."""
        if self.attention.awake or address in self.ledger.by_address or address in self.young.nursery.by_address:
            return False
        self.passes.last[id(code), lasti] = tick()
        return True

    def _large(self) -> bool:
        """Whether some memory is too large to be looked at in passing."""
        return self.contents.copied > GLANCE or bool(self.contents.large) or self.young.nursery.large

    def collect(self, moment: Moment) -> None:
        """Tell the writes that followers have seen so far."""
        if self.escalation is not None:
            with self.lock:
                self.escalation.before_look(moment)

    def follows(self, address: int) -> bool:
        """Whether some memory of the storage that begins there is followed now."""
        following = self.escalation.following if self.escalation is not None else None
        return following is not None and any(following.watches(piece.key) for piece in self.ledger.at(address))

    def compare(self, keys: Iterable[int], moment: Moment) -> None:
        """Compare some pieces now: what differs was written before this moment. The caller holds the lock."""
        self._compare(keys, moment)

    def tell_exact(self, mutation: Mutation) -> None:
        """A write whose line is known, because somebody stood around it."""
        self.verdicts.tell(mutation)

    def look_beside(self, address: int, moment: Moment) -> set[int]:
        """Compare what is shared of one storage and tell what changed. Returns its keys. The caller holds the lock."""
        if not self.ledger.pieces:
            return set()
        return self._compare([piece.key for piece in self.ledger.at(address)], moment)

    def _compare(self, keys: Iterable[int], moment: Moment) -> set[int]:
        """Compare some pieces and tell what changed. Returns their keys."""
        keys = list(keys)
        if not keys:
            return set()
        found = self.contents.look(keys, stamp=moment)
        self.verdicts.report(found, moment)
        return {change.key for change, _ in found}

    def _check_owners(self, moment: Moment) -> None:
        """Memory whose owner lives with another address or size: small ones were asked by the look itself."""
        pieces = self.ledger.pieces
        suspicious = [piece for key in self.contents.unheld() if (piece := pieces.get(key)) is not None]
        suspicious += [piece for key in self.ledger.large if (piece := pieces.get(key)) is not None]
        for piece in suspicious:
            if piece.ask() is MOVED and not piece.told_moved:
                piece.told_moved = True
                seen = moment_of(self.contents.seen(piece.key))
                self.forget(piece)
                left = moment.trail.code is None  # the guard's exit has no place
                self.tell_moved(piece, seen if left else moment, left)

    def _may_read(self, address: int) -> bool:
        """Whether memory that torch has borrowed, of the storage that begins there, is still where it was."""
        born = self.young.nursery.at(address)
        return (born is None or born.is_there()) and all(piece.hold() is not None for piece in self.ledger.at(address))

    def twin(self, tensor: torch.Tensor) -> None:
        """A tensor has come by other memory, and has kept its version counter."""
        with self.lock:
            self.ledger.twin(tensor)

    # -- ends of a sharing -------------------------------------------------------------------------------------------

    def release(self, alias: Alias) -> None:
        """Its memory is about to go: nothing of it is looked at any more."""
        gone = self.ledger.close(alias)
        if gone is not None:
            self.forget(gone)

    def forget(self, piece: Piece) -> None:
        """Nothing of it is read any more."""
        self.contents.drop(piece.key)
        if self.escalation is not None:
            self.escalation.gone(piece)

    def leave(self) -> None:
        """In a forked child: hear of no death, compare nothing. The lock may be held by a thread that is not here."""
        self.is_left = True
        self.lock = threading.RLock()
        self.young.nursery.clear()

    def clear(self) -> None:
        """Forget everything; no call-back comes after."""
        with self.lock:
            for key in list(self.ledger.pieces):
                self.contents.drop(key)
            for piece in list(self.ledger.pieces.values()):
                for alias in list(piece.aliases.values()):
                    alias.closed = True
                    alias.storage = alias.side = alias.probe = None
            self.ledger = Ledger()
            self.young.nursery.clear()
            self.data_views.clear()
            self.contents.close()
            forget_mapped()
            if self.escalation is not None:
                self.escalation.close()
