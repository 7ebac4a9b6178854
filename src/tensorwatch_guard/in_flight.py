"""Copies that are still under way: ``non_blocking`` ones, between the call and the next synchronisation.

Until then the source must not be written (the device may get the new values) and the result of a copy to the host must not
be read (it may hold the old ones). Both are found from the order of events; any synchronisation ends all copies. A source
is compared with what it held when its copy was started: around calls that write in place, at lines that are followed, and
at the synchronisation. What is found there only has no line of its own, and gives way to one that is found later.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from .sharing.owners import region_of
from .sites import Trail

if TYPE_CHECKING:
    from .collector import Tally
    from .session import Session

MOST_COPIES: Final = 256
MOST_BYTES: Final = 64 << 10
"""Of a source that is remembered byte by byte; of larger ones only so many, in evenly spaced blocks."""
BLOCKS: Final = 64
MOST_PLACES: Final = 1024


def span_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Addresses of the first byte of a strided tensor and of the one after its last."""
    region = region_of(tensor)
    return region.address, region.address + region.nbytes


class Pending:
    """One copy under way: ``[low, high)`` are the addresses of the host's side."""

    __slots__ = ("_contents", "_memory", "_start", "at", "high", "low", "op", "to_host")

    def __init__(self, op: str, at: Trail, host: torch.Tensor, to_host: bool) -> None:
        self.op = op
        self.at = at
        self.to_host = to_host
        self.low, self.high = span_of(host)
        storage = host.untyped_storage()
        self._memory = weakref.ref(storage)
        self._start = storage.data_ptr()
        self._contents = b"" if to_host else self._sample(storage)

    def _sample(self, storage: torch.UntypedStorage) -> bytes:
        nbytes = self.high - self.low
        empty: Any = torch.empty(0, dtype=torch.uint8, device="cpu")
        whole: np.ndarray[Any, np.dtype[np.uint8]] = empty.set_(storage, self.low - self._start, (nbytes,)).numpy()
        if nbytes <= MOST_BYTES:
            return whole.tobytes()
        rows = whole[: nbytes // BLOCKS * BLOCKS].reshape(BLOCKS, -1)
        return rows[:, : MOST_BYTES // BLOCKS].tobytes() + whole[-1:].tobytes()

    def overwritten(self) -> bool:
        """Whether the source was written since the copy was started."""
        storage = self._memory()
        if storage is None or storage.data_ptr() != self._start or self.to_host:
            return False
        return self._contents != self._sample(storage)

    def lies_in(self, low: int, high: int) -> bool:
        """Whether some of its memory does."""
        return self.low < high and low < self.high


class InFlight:
    """All copies under way in this process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.pending: list[Pending] = []
        self.to_host = False
        """Whether there was ever one to the host."""
        self._late: dict[object, list[Tally]] = {}
        """What was told at a wait, by the place of its copy,"""
        self._lines: dict[object, list[Tally]] = {}
        """and what at a line."""

    def start(self, op: str, at: Trail, host: torch.Tensor, *, to_host: bool) -> None:
        """A copy that does not block was started."""
        del self.pending[: max(len(self.pending) + 1 - MOST_COPIES, 0)]
        self.pending.append(Pending(op, at, host, to_host))
        self.to_host = self.to_host or to_host
        self._session.flying = True
        self._session.begin_sharing()
        if not to_host and self._session.watch_sources is not None:
            self._session.watch_sources()

    def before_write(self, host: torch.Tensor) -> list[Pending]:
        """Host memory is about to be written: the sources in it that are what they were, for ``written``."""
        low, high = span_of(host)
        return [one for one in self.pending if not one.to_host and one.lies_in(low, high) and not one.overwritten()]

    def written(self, sources: Sequence[Pending], at: Trail) -> None:
        """The write was done: a source that is not any more what it was is told there."""
        for one in sources:
            if one in self.pending and one.overwritten():
                self._tell_line(one, at)

    def mutated(self, low: int, high: int, at: Trail) -> None:
        """A write whose line is known."""
        for one in [one for one in self.pending if one.lies_in(low, high) and one.overwritten()]:
            self._tell_line(one, at)

    def read(self, host: torch.Tensor, at: Trail) -> None:
        """Host memory is read: the result of a copy under way?"""
        low, high = span_of(host)
        for one in [one for one in self.pending if one.to_host and one.lies_in(low, high)]:
            self._tell(one, at)

    def handed_out(self, host: torch.Tensor, at: Trail) -> None:
        """Host memory is given to NumPy: when an array is read, nobody can say."""
        low, high = span_of(host)
        for one in self.pending:
            if one.to_host and one.lies_in(low, high):
                self._emit(one, at, "handed out before the copy was done", certain=False)

    def ordered(self, host: torch.Tensor) -> None:
        """Host memory is the end of another copy: a stream does one after the other."""
        low, high = span_of(host)
        self.pending = [one for one in self.pending if not one.lies_in(low, high)]
        self._session.flying = bool(self.pending)

    def synchronized(self, at: Trail) -> None:
        """The host waited: all copies are done. Sources that were written meanwhile are told now."""
        for one in [one for one in self.pending if one.overwritten()]:
            tallies = self._tell(one, at)
            _give_way(tallies, self._lines.get(one.at.key, ()))
            _keep(self._late, one, tallies)
        self.pending.clear()
        self._session.flying = False

    def _tell_line(self, one: Pending, at: Trail) -> None:
        lines = self._tell(one, at)
        _give_way(self._late.get(one.at.key, ()), lines)
        _keep(self._lines, one, lines)

    def _tell(self, one: Pending, at: Trail) -> list[Tally]:
        self.pending.remove(one)
        self._session.flying = bool(self.pending)
        what = "read before the copy was done" if one.to_host else "source written while the copy was under way"
        return self._emit(one, at, what, certain=True)

    def _emit(self, one: Pending, at: Trail, what: str, *, certain: bool) -> list[Tally]:
        tallies = self._session.emit(
            "hazard",
            one.op,
            at,
            key=("async-copy", certain, one.at.key),
            details={"type": "async-copy", "certain": certain, "what": what, "node": None},
        )
        for tally in tallies:
            tally.link("shared-by", "transfer", one.op, one.at)
        return tallies

    def clear(self) -> None:
        """The session is over."""
        self.pending.clear()
        self._session.flying = False
        self._late.clear()
        self._lines.clear()


def _give_way(late: Iterable[Tally], lines: Collection[Tally]) -> None:
    """What has no line of its own is told at one that was found for the same copy."""
    for tally in late:
        line = next((line for line in lines if line.owner is tally.owner and line is not tally), None)
        tally.into = tally.into or line


def _keep(places: dict[object, list[Tally]], one: Pending, tallies: Iterable[Tally]) -> None:
    if len(places) < MOST_PLACES:
        known = places.setdefault(one.at.key, [])
        known += [tally for tally in tallies if tally not in known]
