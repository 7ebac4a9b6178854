"""What a difference in contents means: who wrote, who else can see it, whether it is told already, and as what.

A difference is a *mutation* in an interval between two moments; autograd's version counter says whether torch wrote. When a
follower names the line, the interval finding gives way to it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ..sites import Trail
from ..words import Change, Region, Write, Writer, WrittenBy
from .differences import differing_span, has_gaps
from .ledger import Piece
from .moments import BEGIN, END, START, Moment, Mutation, moment_of

if TYPE_CHECKING:
    from types import CodeType

    from .writes import Writes


class Verdicts:
    """Those of one session. ``tell`` gets each mutation."""

    def __init__(self, writes: Writes, tell: Callable[[Mutation], None]) -> None:
        self._writes = weakref.proxy(writes)
        self.tell = tell
        self.in_span = False
        self._told_at = -1
        self._lines: set[object] = set()
        """Lines that were named: only a new one wakes who rests."""
        self._lows: dict[int, int] = {}
        self._highs: dict[int, int] = {}
        """What was told at one event, which may look several times: a write through overlapping regions is one."""

    def report(self, found: Iterable[tuple[Change, Any]], moment: Moment) -> None:
        """Differences found by a look at ``moment``, each with the stamp of the last look before."""
        writes = self._writes
        writes.counters.began()
        if moment.serial != self._told_at:
            self._told_at, self._lows, self._highs = moment.serial, {}, {}
        lows, highs = self._lows, self._highs
        for change, raw in found:
            stamp = moment_of(raw)
            piece = writes.ledger.pieces.get(change.key)
            if piece is None:
                continue
            writer, unseen = self._writer(piece, change, stamp, moment)
            pages = writes.escalation.explains(piece, change, stamp) if writes.escalation is not None else None
            if pages is not None:
                self._went_so_far(pages, change)
                continue
            aliases = piece.named
            seen = writes.holders.other_side_held
            if not any(seen(alias, writer, change=change) for alias in list(piece.aliases.values())):
                continue  # nobody but the writer has this memory any more
            low, high = piece.region.address + change.first, piece.region.address + change.last
            if lows.get(low, low) >= high or highs.get(high, high) <= low:
                continue  # bytes of a change that is told already, through an overlapping region: one write
            lows[low], highs[high] = high, low
            piece.written += 1
            if writer == "torch":
                writes.ledger.torch_side[piece.key] = None
            mutation = Mutation(piece, change, writer, stamp, moment, False, "", aliases, unseen=unseen)
            inside = stamp.phase == BEGIN and moment.phase == END and self.in_span and stamp.trail.key == moment.trail.key
            self.inexact(mutation._replace(inside=inside))

    def _went_so_far(self, pages: list[Mutation], change: Change) -> None:
        """Writes that page faults have told: the fault is at the first page, the difference shows the rest."""
        if not pages:
            return
        last = pages[-1]
        sequence = last.sequence if len(pages) == 1 else None
        before = pages[0].after._replace(sequence=-1 if pages[0].sequence is None else pages[0].sequence)
        after = last.after._replace(sequence=-1 if last.sequence is None else last.sequence)
        self.tell(last._replace(change=change, before=before, after=after, sequence=sequence, is_told=True))

    def inexact(self, mutation: Mutation) -> None:
        """A write was found as an interval; in auto mode its line is looked for from now on."""
        writes, escalation = self._writes, self._writes.escalation
        before, after = mutation.before, mutation.after
        if escalation is not None and (writes.pace.eased or before.serial < writes.pace.last_rest):
            known = escalation.knows(mutation)
            if known:
                self.tell(mutation._replace(is_told=True, cases=known))
                return
        cases = escalation.found(mutation) if escalation is not None else ()  # by its own ends, wherever the loop has turned
        if not mutation.inside and before.trail.key != after.trail.key and writes.passes.turned(before, after):
            at = before.trail if after.trail.code is None else after.trail  # the guard's exit has no place
            mutation = mutation._replace(
                before=before._replace(trail=at, phase=after.phase), after=after._replace(trail=at), turned_since=before.trail
            )
        if escalation is None or escalation.is_news(cases):
            writes.pace.wake()
        self.tell(mutation._replace(cases=cases))

    def exact(self, piece: Piece, write: Write, cases: tuple[tuple[Any, ...], ...]) -> Mutation | None:
        """A follower named the line. None where nobody else has the memory."""
        if write.alone or not _touches(piece.region, write):
            return None
        seen = self._writes.holders.other_side_held
        if write.by == "pages" and not any(seen(alias, write.writer) for alias in list(piece.aliases.values())):
            return None  # a line is asked when it writes, a page fault only now
        idents = [thread.ident for thread in threading.enumerate() if thread.name == write.thread]
        ident = write.ident or (idents[0] or 0 if len(idents) == 1 else 0)
        serial = self._writes.escalation.serial if self._writes.escalation is not None else 0
        at = Moment(
            Trail(None, -1, None, -1, write.place), ident, write.sequence if write.sequence is not None else -1, 0, serial
        )
        change = Change(piece.key, write.first, write.last, write.before, write.after)
        piece.written += 1
        line = write.place and (write.place.file, write.place.line)
        if line not in self._lines:
            self._lines.add(line)
            self._writes.pace.wake()
        told = Mutation(
            piece, change, write.writer, at, at, True, write.thread, piece.named, write.by,
            write.sequence, write.writer != "torch" or write.known_to is not None, cases=cases,
            known_to=write.known_to or frozenset(), times=write.times,
        )
        self.tell(told)
        return told

    def writer_now(self, change: Change, code: CodeType | None, held: Mapping[int, int]) -> WrittenBy | None:
        """Asked by a follower right after a write, amid a trace function: takes no lock. None: nobody else has the memory.

        ``change``: what was written. ``code``: that of the line that is to blame. ``held``: how often the follower holds each
        piece's owner just now.
        """
        piece = self._writes.ledger.pieces.get(change.key)
        if piece is None:
            return "unknown", None
        escalation = self._writes.escalation
        with torch._C.DisableTorchFunction():  # a mode of the user's may be on in his line
            self._writes.counters.asked_of_one(piece)
            if escalation is not None and escalation.following is not None:
                escalation.following.versions.recall(piece)
            writer, unseen = self._writer(piece, None, START, START, code)
            counters = self._writes.counters
            known_to = frozenset[int]() if unseen else counters.movers
            if known_to and counters.stands_alone(self._writes.ledger, piece):
                known_to = None
        seen = self._writes.holders.other_side_held
        if not any(seen(alias, writer, held, change) for alias in list(piece.aliases.values())):
            return None
        return writer, known_to if writer == "torch" else None

    def _writer(
        self, piece: Piece, change: Change | None, before: Moment, after: Moment, code: CodeType | None = None
    ) -> tuple[Writer, bool]:
        """Who wrote since the last look, and whether autograd's counters missed it.

        No ``change``: one write, just now, in a line of ``code``.
        """
        writes = self._writes
        start = piece.region.address
        low, high = (start + change.first, start + change.last) if change is not None else (start, piece.end)
        moved, known = writes.counters.moved(writes.ledger, piece, low, high)
        if moved:
            return "torch", False
        if change is not None and piece.torch_again > before.serial:
            return "unknown", True
        if change is not None and writes.escalation is not None:
            seen = writes.escalation.writer_of_interval(piece, before)
            if seen is not None:
                return seen, seen != "torch"
        through_data = writes.data_views.wrote(piece) if writes.data_views else None
        silent = writes.silent.covers(low, high) if change is not None else writes.silent.wrote(low, high, code)
        if through_data or silent:
            return "torch", True
        if not known or (through_data is None and writes.data_views.blind.hides_writes(before.trail, after.trail)):
            return "unknown", True
        writer = writes.counters.elsewhere(writes.ledger, piece, low, high, exact=change is None)
        return writer, change is not None or writer != "torch"  # of one write the piece whose counter moved tells


def _touches(region: Region, write: Write) -> bool:
    """False for a write into the gaps of a strided region: its neighbours' memory."""
    if write.before is None or write.after is None or not has_gaps(region):
        return True
    before, after = bytearray(region.nbytes), bytearray(region.nbytes)
    before[write.first : write.last], after[write.first : write.last] = write.before, write.after
    return differing_span(region, before, after, gaps=True) is not None
