"""Who wrote to shared memory, and when: the engine between the ledger and the contents.

At boundaries everything shared is compared with what was remembered, at other events only the memory at hand and the next
few. A difference is a *mutation* in an interval between two moments; autograd's version counter says whether torch wrote.
When a follower names the line, the interval finding gives way to it.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from threading import get_ident
from types import CodeType
from typing import Any, Final

import torch

from ..sites import Trail, trail
from ..words import Change, Region, Write, Writer
from .adoption import Adoption
from .contents import Contents
from .copies import GLANCE
from .counters import Counters
from .data_views import DataViews
from .differences import differing_span, has_gaps
from .escalation import Escalation
from .fingerprints import BLOCK
from .graph import sequence_number
from .ledger import Alias, Ledger, Piece, is_live, other_side_held, version_probe
from .moments import BEGIN, END, START, Moment, Mutation, moment_of, now, tick
from .nursery import BIRTH_SIZE, Newborn
from .owners import MOVED, Lender, Owner
from .passes import Passes
from .writers import hides_writes
from .written import AsyncPages

MOST_CUTS: Final = 20
MOST_WHOLE: Final = 32
FRESH: Final = 16
"""Reads of one line in a row that look at other memory in passing each time; then one in four does."""


class Writes:
    """The live shared memory of a process. ``tell`` gets each mutation, ``tell_moved`` each owner found elsewhere."""

    def __init__(
        self, tell: Callable[[Mutation], None], tell_moved: Callable[[Piece, Moment], None], share: float, mode: str
    ) -> None:
        self.ledger = Ledger()
        self.contents = Contents(share=share, pages=AsyncPages())
        self.escalation: Escalation | None = None
        self.data_views = DataViews()
        self.young = Adoption(self)
        self.passes = Passes()
        self._event = 0
        """Serial number of the event that the short way began and the long way ends."""
        self.follow(mode)
        self.lock = threading.RLock()
        self.counters = Counters(self.young.nursery)
        self._tell = tell
        self.tell_moved = tell_moved
        self._dead: queue.SimpleQueue[Alias] = queue.SimpleQueue()
        self._left = False
        self._torch_wrote = False
        self._in_span = False
        self._read_in: CodeType | None = None
        self._read_at = self._reads = 0
        self._whole = MOST_WHOLE
        """Events that may still look at everything although they are no boundaries; each boundary gives one back."""
        self.cuts: dict[tuple[object, ...], list[Trail]] = {}
        """Where the sharing of live aliases was ended, by (op, trail's key)."""
        self.torch_writing = False
        """Set while a torch call runs that writes without a trace in a version counter."""

    def follow(self, mode: str) -> None:
        """Follow writes as the ``writes`` option says; may be raised while pieces are alive."""
        self.young.compares = mode != "off"
        if mode not in ("auto", "exact"):
            return
        if self.escalation is None:
            self.escalation = Escalation(mode, lambda: self.ledger.pieces, self._exact, self._writer_now)
        else:
            self.escalation.raise_to(mode)
        if mode == "exact":
            self.escalation.follow_all()

    @property
    def bears(self) -> bool:
        """Whether small aliases may go the short way: not while something is followed."""
        return self.escalation is None or not self.escalation.is_awake

    # -- handing out ---------------------------------------------------------------------------------------------------

    def share(  # noqa: C901 - the order of one handing out
        self,
        op: str,
        direction: str,
        moment: Moment,
        storage: torch.UntypedStorage,
        region: Region,
        owner: Callable[[], Owner],
        side: torch.Tensor | None,
        file_backed: bool = False,
        watch: bool = True,
        tensor: torch.Tensor | None = None,
        born: Newborn | None = None,
        seen: Moment | None = None,
    ) -> Alias:
        """Memory was handed out: ``region`` of ``storage``.

        ``side``: the tensor behind an array that was handed out; it dies with the array and all its views. ``tensor``: any
        tensor of the storage, for its version counter.
        ``born`` and ``seen``: it was handed out a while ago, at ``moment``, and is taken over now.
        """
        seen = seen or moment
        with self.lock:
            address = storage.data_ptr()
            twin = self.young.nursery.at(address)
            if twin is not None:
                self.young.adopt(twin, seen)
            if self.escalation is not None:
                self.escalation.before_look(seen)
            if born is None:  # what was written before is nothing of the new alias's; one taken over was there
                self._compare_at(address, seen)
            stale = self.ledger.stale(region)
            if stale is not None:
                self._forget(stale)
            piece, new = self.ledger.piece(region, owner, file_backed)
            self.ledger.stand_at(piece, address)
            alias = self.ledger.enter(piece, op, direction, moment.trail, moment)
            alias.storage = weakref.ref(storage, _Death(self, alias))
            if side is not None:
                alias.side = weakref.ref(side, _Death(self, alias))
            if direction == "array->tensor":
                alias.lender = self._lender(piece.owner if new else owner())
            alias.probe = born.probe if born is not None else version_probe(tensor) if tensor is not None else None
            alias.version = born.version if born is not None else alias.probe._version if alias.probe is not None else 0
            if born is None and self.data_views:
                self.data_views.handed_out(region.address, region.address + region.nbytes)
            if new and watch:
                self.contents.add(piece.key, region, piece.hold, file_backed=file_backed, stamp=seen)
                if region.nbytes > BLOCK:  # its first fingerprint, as far as the time budget goes
                    self.contents.look((piece.key,), stamp=moment)
            if born is not None and watch:
                self._taken_over(piece, born, address, seen)
            if born is None:
                self.passes.noted(moment)
            if self.escalation is not None and watch:
                self.escalation.shared(alias, moment)
                self.escalation.after_look(seen)
            return alias

    def _taken_over(self, piece: Piece, born: Newborn, address: int, seen: Moment) -> None:
        """What was written since a birth is told now."""
        piece.torch_wrote = piece.torch_wrote or born.torch_wrote
        if piece.key not in self._compare_at(address, seen):  # known memory may look as it did before the birth
            change = self.young.since_birth(piece, born)
            if change is not None:
                self._report([(change, born.seen)], seen)

    @staticmethod
    def _lender(owner: Owner) -> Lender | None:
        return owner if isinstance(owner, Lender) else None

    # -- looking -------------------------------------------------------------------------------------------------------

    def boundary(self, moment: Moment, *, whole: bool = False) -> None:
        """Compare everything, within the budget. ``whole``: whatever time it takes."""
        self._whole = min(self._whole + 1, MOST_WHOLE)
        with self.lock:
            self._begin_look(moment)
            if self.ledger.pieces:
                cut = self.contents.looks_cut
                found = self.contents.look(None, stamp=moment, whole=whole)
                self._check_owners(moment)
                self._report(found, moment)
                if self.contents.looks_cut == cut:
                    self.ledger.note_versions()
            self._end_look(moment)

    def torch_boundary(self, moment: Moment, *, wrote: bool) -> None:
        """Compare only what torch itself may write here: memory of tensors that was handed out.

        ``wrote``: what changed since the last look is torch's doing, whatever the version counter says (fused
        optimizers, BatchNorm's statistics).
        """
        if not self.ledger.torch_side and not self.young and not (self.escalation is not None and self.escalation.is_awake):
            self.torch_writing = False
            self.passes.noted(moment)
            return
        with self.lock:
            self._torch_wrote, self._in_span = wrote, True
            self._begin_look(moment)
            if self.ledger.torch_side:
                self._compare(list(self.ledger.torch_side), moment)
            self._torch_wrote = self._in_span = False
            self._end_look(moment)

    def _begin_look(self, moment: Moment) -> None:
        self._bury()
        if self.data_views:
            self.data_views.settle()
        if self.young:
            if self.bears:
                self.young.look(moment)
            else:
                self.young.adopt_all(moment)
        if self.escalation is not None:
            self.escalation.before_look(moment)

    def _end_look(self, moment: Moment) -> None:
        self.passes.noted(moment)
        self.torch_writing = False
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
                if not self.bears:
                    self.young.adopt_all(moment)
                else:
                    if born is not None:
                        self.young.adopt(born, moment)
                    self.young.adopt_written(moment, BIRTH_SIZE if whole else GLANCE)
            if self.escalation is not None:
                self.escalation.before_look(moment)
            found: list[tuple[Change, Any]] = []
            if address is not None:
                for piece in self.ledger.at(address):
                    found += self.contents.look((piece.key,), stamp=moment)
            found += self.contents.look(None, stamp=moment) if whole else self.contents.peek(None, stamp=moment)
            if found:
                self._report(found, moment)
            self.passes.noted(moment)
            if self.escalation is not None:
                self.escalation.after_look(moment)

    def glance(self, address: int, code: CodeType, lasti: int) -> bool:
        """The short way of ``peek``: False where something differs or is followed, and the long way has to be taken."""
        if not self.bears or (self._whole and self._large()):
            return False
        if lasti != self._read_at or code is not self._read_in:
            self._read_at, self._read_in, self._reads = lasti, code, 0
        self._reads = reads = self._reads + 1
        passing = reads < FRESH or not reads & 3
        known = self.ledger.first_at(address)
        stamp = (code, lasti, get_ident(), sequence_number(), tick()) if passing or known is not None else None
        if self.young and not self.young.look_at(address, stamp if passing else None):
            self._reads = 0
            self._event = stamp[4] if stamp is not None else 0
            return False
        if stamp is not None and self.ledger.pieces:
            found = self.contents.peek(known, stamp=stamp, passing=passing)
            if found:
                self._reads = 0
                with self.lock:
                    self._report(found, moment_of(stamp))
        if reads == 1 and stamp is not None:  # in a row, one is enough to know that the line was passed
            self.passes.note(code, lasti, stamp[4])
        return True

    def _large(self) -> bool:
        """Whether some memory is too large to be looked at in passing."""
        return self.contents.copied > GLANCE or bool(self.contents.large) or self.young.nursery.large

    def compare(self, keys: Iterable[int], moment: Moment) -> None:
        """Compare some pieces now: what differs was written before this moment. The caller holds the lock."""
        self._compare(keys, moment)

    def tell_exact(self, mutation: Mutation) -> None:
        """A write whose line is known, because somebody stood around it."""
        self._tell(mutation)

    def _compare_at(self, address: int, moment: Moment) -> set[int]:
        if not self.ledger.pieces:
            return set()
        return self._compare([piece.key for piece in self.ledger.at(address)], moment)

    def _compare(self, keys: Iterable[int], moment: Moment) -> set[int]:
        """Compare some pieces and tell what changed. Returns their keys."""
        keys = list(keys)
        if not keys:
            return set()
        found = self.contents.look(keys, stamp=moment)
        self._report(found, moment)
        return {change.key for change, _ in found}

    def _check_owners(self, moment: Moment) -> None:
        """Memory whose owner lives with another address or size: small ones were asked by the look itself."""
        pieces = self.ledger.pieces
        suspicious = [piece for key in self.contents.unheld() if (piece := pieces.get(key)) is not None]
        suspicious += [piece for key in self.ledger.large if (piece := pieces.get(key)) is not None]
        for piece in suspicious:
            if piece.ask() is MOVED and not piece.told_moved:
                piece.told_moved = True
                self._forget(piece)
                self.tell_moved(piece, moment)

    def _report(self, found: Iterable[tuple[Change, Any]], moment: Moment) -> None:
        self.counters.began()
        lows: dict[int, int] = {}
        highs: dict[int, int] = {}
        for change, raw in found:
            stamp = moment_of(raw)
            piece = self.ledger.pieces.get(change.key)
            if piece is None:
                continue
            writer, unseen = self._writer(piece, change, stamp, moment)
            if self.escalation is not None and self.escalation.explains(piece, change, writer):
                continue
            aliases = tuple(piece.aliases.values())
            if not any(other_side_held(alias, 0, writer) for alias in aliases):
                continue  # nobody but the writer has this memory any more
            low, high = piece.region.address + change.first, piece.region.address + change.last
            if lows.get(low, low) >= high or highs.get(high, high) <= low:
                continue  # bytes of a change that is told already, through an overlapping region: one write
            lows[low], highs[high] = high, low
            piece.written += 1
            if writer == "torch":
                self.ledger.torch_side[piece.key] = None
            mutation = Mutation(piece, change, writer, stamp, moment, False, "", aliases, unseen=unseen)
            inside = stamp.phase == BEGIN and moment.phase == END and self._in_span and stamp.trail.key == moment.trail.key
            self.tell_inexact(mutation._replace(inside=inside))
        if self.escalation is not None:
            self.escalation.looked()

    def tell_inexact(self, mutation: Mutation) -> None:
        """A write was found as an interval; in auto mode its line is looked for from now on."""
        before, after = mutation.before, mutation.after
        if not mutation.inside and before.trail.key != after.trail.key and self.passes.turned(before, after):
            at = before.trail if after.trail.code is None else after.trail  # the guard's exit has no place
            mutation = mutation._replace(
                before=before._replace(trail=at, phase=after.phase), after=after._replace(trail=at), turned_since=before.trail
            )
        if self.escalation is not None:
            mutation = mutation._replace(cases=self.escalation.found(mutation))
        self._tell(mutation)

    def _exact(self, piece: Piece, write: Write, cases: tuple[object, ...]) -> None:
        """A follower named the line."""
        if write.alone or not _touches(piece.region, write):
            return
        idents = [thread.ident for thread in threading.enumerate() if thread.name == write.thread]
        ident = idents[0] or 0 if len(idents) == 1 else 0
        at = Moment(Trail(None, -1, None, -1, write.place), ident, write.sequence if write.sequence is not None else -1)
        change = Change(piece.key, write.first, write.last, write.before, write.after)
        piece.written += 1
        self._tell(
            Mutation(
                piece, change, write.writer, at, at, True, write.thread, tuple(piece.aliases.values()), write.by,
                write.sequence, write.writer != "torch", cases=cases,
            )
        )

    def _writer_now(self, key: int) -> Writer | None:
        """Asked by a follower right after a write, amid a trace function: takes no lock. None: nobody else has the memory."""
        piece = self.ledger.pieces.get(key)
        if piece is None:
            return "unknown"
        writer = self._writer(piece, None, START, START)[0]
        return writer if any(other_side_held(alias, 1, writer) for alias in list(piece.aliases.values())) else None

    def _writer(self, piece: Piece, change: Change | None, before: Moment, after: Moment) -> tuple[Writer, bool]:
        """Who wrote since the last look, and whether autograd's counter missed it. No ``change``: one write, just now."""
        start = piece.region.address
        low, high = (start + change.first, start + change.last) if change is not None else (start, piece.end)
        moved, known = self.counters.moved(self.ledger, piece, low, high)
        if moved:
            return "torch", False
        through_data = self.data_views.wrote(piece) if self.data_views else None
        if through_data or self._torch_wrote or self.torch_writing:
            return "torch", True
        if not known or (through_data is None and hides_writes(before.trail, after.trail)):
            return "unknown", True
        return self.counters.elsewhere(self.ledger, piece, low, high, exact=change is None), True

    # -- ends of a sharing -------------------------------------------------------------------------------------------

    def ties(self, address: int, moment: Moment) -> list[Alias]:
        """The aliases of a storage that can be written from both sides: its tensor is about to get other memory."""
        with self.lock:
            born = self.young.nursery.at(address)
            if born is not None:
                self.young.adopt(born, moment)
            known = [alias for piece in self.ledger.at(address) for alias in list(piece.aliases.values())]
            return [alias for alias in known if is_live(alias)]

    def cut(self, ties: list[Alias], at: Trail) -> None:
        """It has got it: those that can be written from both sides no longer were severed here."""
        with self.lock:
            for alias in ties:
                if not is_live(alias):
                    known = self.cuts.setdefault((alias.op, alias.trail.key), [])
                    if len(known) < MOST_CUTS:
                        known.append(at)

    # -- deaths --------------------------------------------------------------------------------------------------------

    def died(self, alias: Alias) -> None:
        """Called from a weak reference's call-back: any thread, any moment. The memory is still there; nothing may raise."""
        if alias.closed or self._left:
            return
        if not self.lock.acquire(blocking=False):
            self._dead.put(alias)
            self.contents.drop(alias.piece.key)
            return
        try:
            self._bury()
            self._close(alias)
        finally:
            self.lock.release()

    def release(self, alias: Alias) -> None:
        """Its memory is about to go: nothing of it is looked at any more."""
        gone = self.ledger.close(alias)
        if gone is not None:
            self._forget(gone)

    def _forget(self, piece: Piece) -> None:
        self.contents.drop(piece.key)
        if self.escalation is not None:
            self.escalation.gone(piece)

    def _bury(self) -> None:
        while True:
            try:
                alias = self._dead.get_nowait()
            except queue.Empty:
                return
            self.release(alias)

    def _close(self, alias: Alias) -> None:
        try:
            if alias.piece.key in self.ledger.pieces:
                self._last_look(alias)
        finally:  # whatever went wrong, memory that goes is looked at no more
            gone = self.ledger.close(alias)
            if gone is not None:
                self._forget(gone)

    def _last_look(self, alias: Alias) -> None:
        piece = alias.piece
        piece.dying = alias.lender
        try:
            if self.escalation is not None:
                self.escalation.before_look(START)
            stamp = now(trail(sys._getframe(3))) if len(piece.aliases) > 1 else None
            found = self.contents.look([piece.key], stamp=stamp)
            if found:
                self._report(found, stamp or now(trail(sys._getframe(3))))
        finally:
            piece.dying = None

    def leave(self) -> None:
        """In a forked child: hear of no death, compare nothing. The lock may be held by a thread that is not here."""
        self._left = True
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
            if self.escalation is not None:
                self.escalation.close()


def _touches(region: Region, write: Write) -> bool:
    """False for a write into the gaps of a strided region: its neighbours' memory."""
    if write.before is None or write.after is None or not has_gaps(region):
        return True
    before, after = bytearray(region.nbytes), bytearray(region.nbytes)
    before[write.first : write.last], after[write.first : write.last] = write.before, write.after
    return differing_span(region, before, after, gaps=True) is not None


class _Death:
    """A weak reference's call-back: closes one alias, once, and never raises."""

    __slots__ = ("_alias", "_writes")

    def __init__(self, writes: Writes, alias: Alias) -> None:
        self._writes = writes
        self._alias = alias

    def __call__(self, _reference: object) -> None:
        with contextlib.suppress(Exception):
            self._writes.died(self._alias)
