"""What a program takes through ``.data``: the same memory under a version counter of its own.

A write through it leaves the tensor's own counter as it was, so autograd's check stays mute. But the other counter can be
kept: a tensor without data shares it (``version_probe``), and says later whether there was a write. Only memory that a graph,
an array or another tensor holds as well is remembered; a plain ``p.data -= lr * p.grad`` after backward costs no more than
two counts of references.
"""

from __future__ import annotations

import ctypes
import dis
import time
import weakref
from threading import get_ident
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

import torch

from .addresses import address_of
from .backing import may_be_read
from .fingerprints import hasher
from .graph import sequence_number
from .ledger import version_probe
from .writers import Blindness

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..sites import Trail
    from .ledger import Piece

MOST_VIEWS: Final = 512
SMALL: Final = 64 << 10
"""Contents up to this size are always remembered, larger ones while the time budget lasts."""
SHARE: Final = 0.02
GRACE_NS: Final = 20_000_000

_use_count: Final = getattr(torch._C, "_storage_Use_Count", None)
_holders: Final[Any] = getattr(torch.Tensor, "_use_count", None)
_STORES: Final = ("STORE_", "LIST_APPEND", "SET_ADD", "MAP_ADD", "RETURN_", "YIELD_", "BUILD_", "DICT_", "SWAP", "COPY")
ENDS: Final[dict[tuple[int, int], tuple[CodeType, bool]]] = {}
"""Instructions that gave ``.data``, and whether what they gave is stored."""

Content = tuple[int, int] | None
"""Length and hash; None where it was not read."""


class Taken:
    """One taking of ``.data`` that may be written through."""

    __slots__ = (
        "at", "base", "content", "high", "ident", "kept", "low", "probe", "seen", "sequence", "storage", "told", "unsaved",
    )  # fmt: skip

    def __init__(self, tensor: torch.Tensor, view: torch.Tensor, probe: torch.Tensor, low: int, at: Trail, kept: bool) -> None:
        self.at = at
        self.probe = probe
        self.storage = weakref.ref(view.untyped_storage())
        self.unsaved = not kept and not is_saved(tensor)
        """No graph had saved the tensor itself, nor can one before the write: that comes in this very expression."""
        self.low = low
        self.high = low + view.nbytes
        self.ident = get_ident()
        self.sequence = sequence_number()
        self.kept = kept
        """Stored in a variable: the write may come at any later line."""
        self.content: Content = None
        """What the memory held before."""
        self.told = 0
        self.base = 0
        """The version when the memory was last handed out to an array."""
        self.seen: dict[int, int] | None = None
        """The version when a piece of shared memory was last found written."""

    def is_there(self) -> bool:
        """Whether the memory is where it was."""
        return _covers(self.storage(), self.low, self.high)


class Event:
    """A write through ``.data``, or another memory given to a tensor by ``.data =``.

    ``first`` and ``last`` are autograd's numbers between which it lies. ``only``: the id of the one tensor whose saved values
    it concerns.
    """

    __slots__ = ("at", "content", "first", "high", "ident", "last", "low", "only", "storage", "unsaved")

    def __init__(
        self, at: Trail, low: int, high: int, storage: Any, ident: int, first: int, last: int, content: Content,
        only: int | None = None, unsaved: bool = False,
    ) -> None:  # fmt: skip
        self.at = at
        self.low = low
        self.high = high
        self.storage = storage
        self.ident = ident
        self.first = first
        self.last = last
        self.content = content
        self.only = only
        self.unsaved = unsaved

    def undone(self) -> bool:
        """Whether the memory holds again what it held before."""
        return self.content is not None and self.is_there() and self.content == _read(self.low, self.high)

    def is_there(self) -> bool:
        """Whether the memory is where it was."""
        return _covers(self.storage(), self.low, self.high)

    def concerns_nobody(self) -> bool:
        """Whether no graph can have what was there before: nobody but the tensor has its memory any more."""
        storage = self.storage()
        if storage is None or not self.unsaved or _use_count is None:
            return storage is None
        return bool(_use_count(storage._cdata) <= 2)  # the tensor and the storage's Python object


def _covers(storage: Any, low: int, high: int) -> bool:
    if storage is None:
        return False
    start = storage.data_ptr()
    if not (start <= low and high <= start + storage.nbytes()):
        return False
    return may_be_read(storage)


_hash: Final = hasher()


def _read(low: int, high: int) -> tuple[int, int]:
    return high - low, _hash((ctypes.c_char * (high - low)).from_address(low))


class DataViews:
    """All that was taken and may still be written through."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, int, int], Taken] = {}
        self._kept: dict[tuple[int, int, int], Taken] = {}
        self._fresh: list[Event] = []
        self.blind = Blindness()
        self._started = time.perf_counter_ns()
        self._spent_ns = 0

    def __bool__(self) -> bool:
        return bool(self._open or self._fresh)

    @property
    def any_kept(self) -> bool:
        """Whether some may be written through at any later line."""
        return bool(self._kept)

    # -- probes --------------------------------------------------------------------------------------------------------

    def take(self, tensor: torch.Tensor, view: torch.Tensor, at: Trail, code: CodeType, lasti: int) -> None:
        """``tensor.data`` was read in ``code`` at ``lasti`` and gave ``view``."""
        kept = _is_kept(code, lasti)
        if not kept and not is_held(tensor, view):
            return
        low = address_of(view)
        probe = version_probe(view) if low else None
        if probe is None:
            self.blind.overlooked = True
            return
        if self._kept:
            self._settle(self._kept)
        key = (id(at.code), at.lasti, low)
        before = self._open.get(key)
        if before is not None:
            self._settle({key: before})
        taken = Taken(tensor, view, probe, low, at, kept)
        taken.content = self.content(view, low)
        self._open[key] = taken
        if kept:
            self._kept[key] = taken
        else:
            self._kept.pop(key, None)
        if len(self._open) > MOST_VIEWS:
            self._make_room()

    def replaced(self, tensor: torch.Tensor, at: Trail, before: Content) -> None:
        """``tensor.data = other``: what a graph saved as this very tensor has other contents from now on."""
        low = address_of(tensor)
        after = self.content(tensor, low) if before is not None else None
        if not low or (before is not None and before == after):
            return
        number = sequence_number()
        storage = weakref.ref(tensor.untyped_storage())
        high = low + tensor.nbytes
        self._fresh.append(Event(at, low, high, storage, get_ident(), number, number, before, id(tensor)))
        del self._fresh[:-MOST_VIEWS]

    def content(self, tensor: torch.Tensor, low: int) -> Content:
        """A tensor's bytes as a hash; None where that would take too long, or gaps are between them."""
        nbytes = tensor.nbytes
        if not low or not nbytes or not tensor.is_contiguous() or not may_be_read(tensor.untyped_storage()):
            return None
        if nbytes <= SMALL:
            return _read(low, low + nbytes)
        started = time.perf_counter_ns()
        if self._spent_ns > GRACE_NS + SHARE * (started - self._started):
            return None
        found = _read(low, low + nbytes)
        self._spent_ns += time.perf_counter_ns() - started
        return found

    # -- asked by others -----------------------------------------------------------------------------------------------

    def handed_out(self, low: int, high: int, known: Iterable[Piece] = ()) -> None:
        """The memory comes to be shared with an array just now: earlier writes are none to it, but to what was ``known``."""
        for taken in list(self._open.values()):
            if taken.low < high and low < taken.high:
                taken.seen = {**{piece.key: taken.base for piece in known}, **(taken.seen or {})}
                taken.base = taken.probe._version

    def wrote(self, piece: Piece) -> bool | None:
        """Whether shared memory was written through some ``.data`` since this was last asked; None: none is known for it."""
        low, high, found = piece.region.address, piece.end, None
        for taken in list(self._open.values()):
            if taken.low < high and low < taken.high:
                version = taken.probe._version
                known = taken.base if taken.seen is None else taken.seen.get(piece.key, taken.base)
                if version != known:
                    taken.seen = {**(taken.seen or {}), piece.key: version}
                    found = True
                found = found or False
        return found

    def settle(self) -> None:
        """See which were written through, so that the interval of each write is short."""
        self._settle(self._kept)

    def is_quiet(self) -> bool:
        """Whether nothing was written through any of them that ``events`` would tell."""
        return not self._fresh and all(taken.probe._version == taken.told for taken in list(self._open.values()))

    def events(self) -> Iterator[Event]:
        """The writes that nobody has asked for yet."""
        self._settle(self._open)
        fresh, self._fresh = self._fresh, []
        return iter(fresh)

    def clear(self) -> None:
        """Forget everything."""
        self._open.clear()
        self._kept.clear()
        self._fresh.clear()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _settle(self, some: dict[tuple[int, int, int], Taken]) -> None:
        for taken in list(some.values()):
            version = taken.probe._version
            if version == taken.told:
                continue
            taken.told = version
            number = sequence_number() if get_ident() == taken.ident else -1
            # What is not stored is written in its own expression, long before this look.
            last = number if taken.kept else taken.sequence
            ends = taken.ident, taken.sequence, last
            event = Event(taken.at, taken.low, taken.high, taken.storage, *ends, taken.content, unsaved=taken.unsaved)
            self._fresh.append(event)
            del self._fresh[:-MOST_VIEWS]
            if number >= 0:
                taken.sequence = number
            taken.content = None
            if taken.is_there() and taken.high - taken.low <= SMALL:
                taken.content = _read(taken.low, taken.high)

    def _make_room(self) -> None:
        self._settle(self._open)
        gone = [key for key, taken in self._open.items() if taken.storage() is None]
        self.blind.overlooked = self.blind.overlooked or not gone
        for key in gone or list(self._open)[: MOST_VIEWS // 4]:
            del self._open[key]
            self._kept.pop(key, None)


def is_saved(tensor: torch.Tensor) -> bool:
    """Whether some graph may have saved this very tensor or a view of it.

    A leaf's own accumulator holds it while any graph of it is alive; a graph that saved it holds it once more.
    """
    return _holders is None or _holders(tensor) > (2 if tensor.requires_grad and tensor.is_leaf else 1)


def is_held(tensor: torch.Tensor, view: torch.Tensor) -> bool:
    """Whether somebody besides the tensor itself has its memory: a graph that saved it, an array, another tensor."""
    if is_saved(tensor):
        return True
    storage = view.untyped_storage()
    # the tensor, the view and the storage's own Python object
    return _use_count is None or _use_count(storage._cdata) > 3 or not storage.resizable()


def _is_kept(code: CodeType, lasti: int) -> bool:
    """Whether the value that an attribute gives is stored, and not used up in its own expression."""
    key = (id(code), lasti)
    known = ENDS.get(key)
    if known is None:
        if len(ENDS) >= 4096:
            ENDS.clear()
        known = ENDS[key] = (code, _look_up(code, lasti))
    return known[1]


def _look_up(code: CodeType, lasti: int) -> bool:
    following = next((one for one in dis.get_instructions(code) if one.offset > lasti), None)
    return following is None or following.opname.startswith(_STORES)
