"""What is known of a write that autograd did not see, and what it proves of a saved value: changed, perhaps, or not at all.

By its bytes where they are known, by hashes of blocks in large memory, else by where it began and ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from .sharing.data_views import Event
from .sharing.graph import Stale, Suspect, Walk
from .sharing.moments import Mutation
from .sharing.restored import Held, Value, ends_of, in_one, surely_differs
from .sites import Trail

if TYPE_CHECKING:
    from .words import Mark

NARROW: Final = 16
"""Bytes of the largest element."""
MOST_HELD: Final = 1 << 20
"""Bytes of a write up to which it is kept in mind what stood there before and after."""


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


def apart(mutation: Mutation) -> tuple[Mutation, tuple[Held, ...] | None]:
    """A mutation without the bytes of its change, and these by themselves if they are few enough."""
    change, held = mutation.change, None
    before, after, marks = change.before, change.after, change.marks
    if before is not None and after is not None and len(before) == len(after) == change.last - change.first:
        if len(before) <= MOST_HELD:
            held = (Held(mutation.piece.region.address + change.first, bytes(before), bytes(after)),)
        else:
            marks = ends_of(change.first, before)
    return mutation._replace(change=replace(change, before=None, after=None, marks=marks)), held


def size_of(held: tuple[Held, ...] | None) -> int:
    """Bytes that are kept of a write."""
    return sum(2 * len(one.before) for one in held) if held is not None else 0


def still_changed(result: Walk, writes: Mapping[int, Write]) -> Iterator[Stale]:
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
