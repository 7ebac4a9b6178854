"""Consequences: a gradient that is silently wrong, an array that points to freed memory, a copy that is overtaken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import torch

from .in_flight import InFlight
from .sharing.data_views import Event, is_saved
from .sharing.graph import Stale, Suspect, Walk, sequence_number, walk
from .sharing.ledger import Alias, Piece
from .sharing.moments import Moment, Mutation, now, tick
from .sharing.pace import PART
from .sharing.restored import Held, Value, ends_of, in_one, surely_differs
from .sites import Trail

if TYPE_CHECKING:
    from .session import Session
    from .sharing.writes import Writes
    from .words import Mark

WRITE: Final = "write"
PERHAPS: Final = "perhaps-written-by"
"""Beside writes that certainly made values stale: another one of which it is not known."""
WALK_SHARE: Final = 0.02
"""Part of wall time that looking through autograd graphs for stale values may take,"""
EASED_SHARE: Final = WALK_SHARE * PART
"""and while boundaries rest: what was written is known, and broke nothing new."""
WALK_GRACE_NS: Final = 50_000_000
MOST_SUSPECTS: Final = 256
MOST_OF_ONE_PIECE: Final = 8
NARROW: Final = 16
"""Bytes of the largest element."""
MOST_HELD: Final = 1 << 20
"""Bytes of a write up to which it is kept in mind what stood there before and after,"""
MOST_HELD_IN_ALL: Final = 16 << 20
"""and those of all writes together."""


class Write:
    """A write that autograd's counter did not see: where it was and, if memory was shared, which mutation tells it.

    ``event``: it went through ``.data``. ``held``: what it changed, piece by piece, where that is known.
    """

    __slots__ = ("at", "event", "held", "mutation", "serial", "suspect")

    def __init__(
        self, suspect: Suspect, at: Trail, mutation: Mutation | None, event: Event | None = None,
        held: tuple[Held, ...] | None = None,
    ) -> None:  # fmt: skip
        self.suspect = suspect
        """Its index is the write's serial number."""
        self.at = at
        self.mutation = mutation
        self.event = event
        self.held = held
        self.serial = suspect.index


class Hazards:
    """Keeps suspicious writes and tells what they broke."""

    def __init__(self, session: Session, writes: Writes) -> None:
        self._session = session
        self._writes = writes
        self.in_flight = InFlight(session)
        self._credit_ns = float(WALK_GRACE_NS)
        self._credited = perf_counter_ns()
        self.walks_skipped = self.walks_cut = 0
        self.suspects: dict[int, list[Write]] = {}
        self._held = 0
        self._wrong_at: set[object] = set()
        """Backwards that are known to have used overwritten values."""

    # -- stale gradients -----------------------------------------------------------------------------------------------

    def suspect(self, mutation: Mutation) -> None:
        """Shared memory was written and autograd does not know, or knows of one write and cannot know of another."""
        region, change = mutation.piece.region, mutation.change
        first, last = mutation.before, mutation.after
        if not mutation.unseen and (first.thread != last.thread or not 0 <= first.sequence < last.sequence):
            return
        sequences = {}
        if mutation.sequence is not None:
            sequences[last.thread] = (mutation.sequence, mutation.sequence)
        elif first.thread == last.thread and last.sequence >= 0:  # of a write whose number nobody knows all are possible
            sequences[last.thread] = (first.sequence, last.sequence)
        low = region.address
        one = Suspect(
            tick(), low + change.first, low + change.last, sequences, counted=not mutation.unseen, known_to=mutation.known_to,
        )
        apart, held = _apart(mutation)
        self._keep(mutation.piece.key, Write(one, last.trail, apart, held=held))

    def fused_step(self, at: Trail, optimizer: Any) -> None:
        """A fused optimizer wrote parameters without a bump of their counters: those that some graph still holds."""
        if not optimizer.defaults.get("fused"):
            return
        sequence, ident = sequence_number(), now(at).thread
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or not parameter.is_cpu or not is_saved(parameter):
                    continue
                low = parameter.data_ptr()
                one = Suspect(tick(), low, low + parameter.nbytes, {ident: (sequence, sequence)})
                self._keep(-low, Write(one, at, None))

    def _through_data(self) -> None:
        """Writes through ``.data`` since the last look; those are forgotten that concern no graph any more."""
        for key, known in list(self.suspects.items()):
            known[:] = [write for write in known if write.event is None or not write.event.concerns_nobody()]
            if not known:
                del self.suspects[key]
        for event in self._writes.data_views.events():
            if event.concerns_nobody():
                continue
            sequences = {event.ident: (event.first, event.last)} if event.first <= event.last else {}
            self._keep(-event.low, Write(Suspect(tick(), event.low, event.high, sequences), event.at, None, event))

    def _keep(self, key: int, write: Write) -> None:
        known, one = self.suspects.setdefault(key, []), write.suspect
        if self._held + _size(write.held) > MOST_HELD_IN_ALL:
            write.held = None
        self._held += _size(write.held)
        if write.event is None and write.held is None:
            known[:] = [w for w in known if w.held is not None or not (one.low <= w.suspect.low and w.suspect.high <= one.high)]
        known.append(write)
        while len(known) > MOST_OF_ONE_PIECE:
            first, second = known[:2]
            self._held -= _size(first.held) + _size(second.held)
            known[:2] = [joined(first, second)]
            self._held += _size(known[0].held)
        while len(self.suspects) > MOST_SUSPECTS:
            self._held -= sum(_size(w.held) for w in self.suspects.pop(next(iter(self.suspects))))

    def has_work(self) -> bool:
        """Whether something was written that a graph may have saved, and there is time to look. Asked before each backward."""
        if self.suspects:
            now_ns = perf_counter_ns()
            self._credit_ns += (now_ns - self._credited) * (EASED_SHARE if self._writes.pace.eased else WALK_SHARE)
            self._credited = now_ns
            if self._credit_ns >= 0:
                return True
            self.walks_skipped += 1
        return not self._writes.data_views.is_quiet()

    def before_backward(self, at: Trail, roots: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor] | None) -> None:
        """Look for values that the graph saved before a write autograd did not see.

        ``inputs``: what gradients are wanted for, None for all leaves; nodes on no way to them will not run.
        """
        if self._writes.data_views:
            self._through_data()
        if not self.suspects or not roots or self._credit_ns < 0:
            return
        started = perf_counter_ns()
        result = walk(roots, [write.suspect for known in self.suspects.values() for write in known], inputs)
        self.walks_cut += result.cut
        writes, found = {}, []
        if result.found:
            writes = {write.serial: write for known in self.suspects.values() for write in known}
            found = list(_still_changed(result, writes))
        self._credit_ns -= perf_counter_ns() - started
        if found:
            self._stale(at, found, writes)

    def _stale(self, at: Trail, found: Sequence[Stale], writes: Mapping[int, Write]) -> None:
        certain = [one for one in found if one.certain]
        if certain:
            self._wrong_at.add(at.key)
        elif at.key not in self._wrong_at:
            self._follow_again([writes[one.suspect].mutation for one in found], at)
        first = (certain or list(found))[0]
        tallies = self._session.emit(
            "hazard",
            "backward",
            at,
            key=("stale-gradient", bool(certain)),
            details={
                "type": "stale-gradient",
                "certain": bool(certain),
                "node": first.node,
                "saved": first.attribute,
                "nodes": len({(one.node, one.attribute) for one in found}),
                **({"through": ".data"} if writes[first.suspect].event is not None else {}),
            },
        )
        for tally in tallies:
            for one in sorted(found, key=lambda one: not one.certain):
                write = writes[one.suspect]
                mutation = write.mutation
                extra = mutation.since if mutation is not None else None
                role = "written-by" if one.certain or not certain else PERHAPS
                tally.link(role, "mutation", WRITE, write.at, extra)
                for alias in mutation.aliases if mutation is not None else ():
                    tally.link("shared-by", "alias", alias.op, alias.trail)

    def _follow_again(self, mutations: Iterable[Mutation | None], at: Trail) -> None:
        escalation = self._writes.escalation
        for mutation in mutations:
            if escalation is not None and mutation is not None and not mutation.exact:
                escalation.doubt(mutation, at)

    # -- dangling aliases ----------------------------------------------------------------------------------------------

    def moved(self, piece: Piece, moment: Moment, *, left: bool) -> None:
        """An owner was found with other memory: what was handed out points to memory that is gone.

        ``left``: when the guard was left; ``moment`` is the last at which it was there.
        """
        self._dangling(moment.trail, "resize", list(piece.aliases.values()), told="after" if left else "later")

    def relocating(self, at: Trail, op: str, storage: torch.UntypedStorage) -> None:
        """A storage is about to get other memory: arrays that were handed out will dangle."""
        writes = self._writes
        with writes.lock:
            writes.young.adopt_all(now(at))
            known = [alias for piece in writes.ledger.at(storage.data_ptr()) for alias in list(piece.aliases.values())]
            handed_out = [
                alias
                for alias in known
                if alias.direction.startswith("tensor->")
                and (alias.side is None or alias.side() is not None)
                and (alias.direction != "tensor->buffer" or writes.holders.is_live(alias))
            ]
            for alias in known:
                writes.release(alias)
        if handed_out:
            self._dangling(at, op, handed_out, told="before")

    def _dangling(self, at: Trail, op: str, aliases: list[Alias], told: str) -> None:
        tallies = self._session.emit(
            "hazard",
            op,
            at,
            key="dangling-alias",
            details={"type": "dangling-alias", "certain": True, "node": None, "told": told, "aliases": len(aliases)},
        )
        for tally in tallies:
            for alias in aliases:
                tally.link("shared-by", "alias", alias.op, alias.trail)

    def clear(self) -> None:
        """The session is over."""
        self.suspects.clear()
        self._wrong_at.clear()
        self._held = 0
        self.in_flight.clear()


def joined(first: Write, second: Write) -> Write:
    """Two writes to one piece as one, told as the second. What both changed and the second put back is no change."""
    one, other = first.suspect, second.suspect
    if first.event is not None or second.event is not None:
        return Write(other, second.at, second.mutation, second.event)  # what stood there before the first is not known any more
    sequences = {}
    if one.thread and one.thread == other.thread:
        sequences[one.thread] = (one.sequences[one.thread][0], other.end)
    both = Suspect(
        other.index, min(one.low, other.low), max(one.high, other.high), sequences,
        counted=one.counted or other.counted, known_to=one.known_to & other.known_to,
    )  # fmt: skip
    held = None
    if first.held is not None and second.held is not None:
        held = in_one(first.held, second.held)
    mutation = second.mutation
    if first.mutation is not None and mutation is not None and (marks := first.mutation.change.marks):
        mutation = mutation._replace(change=replace(mutation.change, marks=marks))  # what stood there before both
    return Write(both, second.at, mutation, held=held)


def _apart(mutation: Mutation) -> tuple[Mutation, tuple[Held, ...] | None]:
    """A mutation without the bytes of its change, and these by themselves if they are few enough."""
    change, held = mutation.change, None
    before, after, marks = change.before, change.after, change.marks
    if before is not None and after is not None and len(before) == len(after) == change.last - change.first:
        if len(before) <= MOST_HELD:
            held = (Held(mutation.piece.region.address + change.first, bytes(before), bytes(after)),)
        else:
            marks = ends_of(change.first, before)
    return mutation._replace(change=replace(change, before=None, after=None, marks=marks)), held


def _size(held: tuple[Held, ...] | None) -> int:
    return sum(2 * len(one.before) for one in held) if held is not None else 0


def _still_changed(result: Walk, writes: Mapping[int, Write]) -> Iterator[Stale]:
    """What a walk found, without values that hold again what they held when they were saved, or that no write has touched."""
    found: dict[int, tuple[torch.Tensor, list[Stale]]] = {}
    for value, one in zip(result.values, result.found, strict=True):
        if writes[one.suspect].event is None:
            found.setdefault(id(value), (value, []))[1].append(one)
    for value, of_it in found.values():
        yield from _by_contents(value, of_it, writes)
    yield from _through_data_still(result, writes)


def _by_contents(value: torch.Tensor, found: list[Stale], writes: Mapping[int, Write]) -> list[Stale]:
    """Of the writes that may have changed one saved value those that have, by their bytes; without these by what is known."""
    memory = Value(value)
    in_order = sorted(found, key=lambda one: writes[one.suspect].serial)
    bare = [one for one in in_order if not _is_known(writes[one.suspect])]
    shown = [one for one in in_order if _is_known(writes[one.suspect])]
    covered = [one for one in bare if any(_covers(writes[other.suspect], writes[one.suspect]) for other in shown)]
    # a follower saw where such a write began, and no look what it did
    left = [one if _is_narrow(writes[one.suspect]) else replace(one, certain=False) for one in bare if one not in covered]
    if not shown:
        return left
    if memory.known and all(writes[one.suspect].held is not None for one in shown):
        return [*_by_bytes(memory, shown, covered, writes), *left]
    return [*_by_blocks(value, [*shown, *covered], writes), *left]


def _is_known(write: Write) -> bool:
    """Whether there is more of it than a span: its bytes, hashes, or a region that was compared as a whole."""
    return write.held is not None or write.mutation is None or not write.mutation.exact or bool(write.mutation.change.marks)


def _covers(told: Write, seen: Write) -> bool:
    """Whether a difference in contents is that of a write which a follower saw."""
    one, other = told.mutation, seen.mutation
    if one is None or other is None or not one.is_told or one.piece is not other.piece:
        return False
    until, since = told.suspect.sequences, seen.suspect.sequences
    return all(ident in until and until[ident][0] <= start and end <= until[ident][1] for ident, (start, end) in since.items())


def _by_bytes(memory: Value, shown: list[Stale], covered: list[Stale], writes: Mapping[int, Write]) -> list[Stale]:
    known = [(one, held) for one in shown if (held := writes[one.suspect].held) is not None and memory.touched_by(held)]
    # a write that may have come before the value was saved is counted in once and once left out
    differs = {
        memory.differs_from_before([part for _, held in known for part in held]),
        memory.differs_from_before([part for one, held in known if one.certain for part in held]),
    }
    if differs == {False}:
        return []
    return [one if differs == {True} else replace(one, certain=False) for one in (*(one for one, _ in known), *covered)]


def _by_blocks(value: torch.Tensor, found: list[Stale], writes: Mapping[int, Write]) -> list[Stale]:
    """Of large memory only hashes of blocks are known: a write is certain where one that lies in the value is another now."""
    first: dict[tuple[int, int], int] = {}
    for one in sorted(found, key=lambda one: writes[one.suspect].serial):
        if one.certain:
            for low, high, before in _marks(writes[one.suspect]):
                first.setdefault((low, high), before)
    differs = surely_differs(value, [(low, high, before) for (low, high), before in first.items()])
    if differs or not any(_marks(writes[one.suspect]) for one in found):
        return found
    return [one if differs is None and _is_narrow(writes[one.suspect]) else replace(one, certain=False) for one in found]


def _is_narrow(write: Write) -> bool:
    """Whether it is known by where it began, as a page fault tells it: that very element was written."""
    return write.suspect.high - write.suspect.low <= NARROW


def _marks(write: Write) -> list[Mark]:
    """The blocks at both ends of a change of large memory, by address."""
    if write.mutation is None:
        return []
    start = write.mutation.piece.region.address
    return [(start + low, start + high, before) for low, high, before in write.mutation.change.marks]


def _through_data_still(result: Walk, writes: Mapping[int, Write]) -> Iterator[Stale]:
    """Those that were written through ``.data``: the first write after a value was saved knows what it held before."""
    firsts: dict[int, Write] = {}
    counts: dict[int, int] = {}
    for value, one in zip(result.values, result.found, strict=True):
        write = writes[one.suspect]
        if _concerns(write, value):
            counts[id(value)] = counts.get(id(value), 0) + 1
            known = firsts.get(id(value))
            if known is None or write.event.first < known.event.first:  # type: ignore[union-attr]
                firsts[id(value)] = write
    for value, one in zip(result.values, result.found, strict=True):
        if _concerns(writes[one.suspect], value):
            first = firsts[id(value)].event
            if first is not None and not first.undone():
                unsure = first.content is None and counts[id(value)] > 1
                yield replace(one, certain=False) if unsure else one


def _concerns(write: Write, value: torch.Tensor) -> bool:
    return write.event is not None and write.event.only in (None, id(value))
