"""The ledger of shared memory: which piece of memory is shared by whom, since where, and which of it is still alive.

A *piece* is one region of memory as it was handed out; an *alias* is one handing out. Aliases of the same region share a
piece, so a replay buffer that holds one observation a thousand times costs one. Pieces are found by address interval, never
by storage object: two ``from_numpy`` of one array are two storages at one address.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import torch

from ..sites import Trail
from ..words import Region
from .fingerprints import BLOCK
from .owners import MOVED, BorrowedOwner, Lender, Owner

_NO_DATA: Final = torch.empty(0, device="cpu")  # the default device may be another
_set_data: Final[Any] = vars(torch._C.TensorBase)["data"].__set__
"""PyTorch's own: ``Tensor.data`` is watched while a guard is open."""
MOST_NOTED: Final = 64
"""Pieces whose version counters are noted at a boundary."""
MOST_TWINS: Final = 256
"""Storages with such tensors, and tensors of one of them, that are asked."""
MOST_ASKED: Final = 16
"""Aliases of one region that are asked after each line."""
_modes: Final = torch._C._len_torch_dispatch_stack


class Alias:
    """One handing out of memory. ``version`` is what autograd's counter said when it was last looked at."""

    __slots__ = (
        "buffer", "closed", "direction", "lender", "moment", "op", "piece", "probe", "serial", "side", "storage", "trail",
        "version",
    )  # fmt: skip

    def __init__(self, serial: int, op: str, direction: str, trail: Trail, moment: Any, piece: Piece) -> None:
        self.serial = serial
        self.op = op
        self.direction = direction
        self.trail = trail
        self.moment = moment
        self.piece = piece
        self.storage: weakref.ref[Any] | None = None
        self.side: weakref.ref[Any] | None = None
        """The tensor behind an array that was handed out."""
        self.lender: Lender | None = None
        """The array whose memory was lent to torch,"""
        self.buffer: BorrowedOwner | None = None
        """or the buffer."""
        self.probe: torch.Tensor | None = None
        self.version = 0
        self.closed = False


class Twin:
    """A tensor that came by a storage through ``.data =`` and kept its own version counter."""

    __slots__ = ("probe", "serial", "storage", "version")

    def __init__(self, serial: int, probe: torch.Tensor, storage: weakref.ref[Any]) -> None:
        self.serial = serial
        self.probe: torch.Tensor | None = probe
        self.storage = storage
        self.version = probe._version


class Piece:
    """One region of memory that is shared, and what hangs on it."""

    __slots__ = (
        "aliases", "dying", "file_backed", "key", "owner", "partial", "region", "told_moved", "torch_again", "torch_wrote",
        "twins", "written",
    )  # fmt: skip

    def __init__(self, key: int, region: Region, owner: Owner, file_backed: bool) -> None:
        self.key = key
        self.region = region
        self.owner = owner
        self.file_backed = file_backed
        self.aliases: dict[int, Alias] = {}
        self.dying: Lender | None = None
        """The lender whose storage is dying just now: its array is still there."""
        self.partial = False
        """Its storage has other bytes that torch may write: see ``versions``."""
        self.written = 0
        self.told_moved = False
        self.twins: Sequence[Twin] = ()
        self.torch_wrote = 0
        """The report in which torch was found to have written these bytes through another piece; see ``counters``."""
        self.torch_again = 0
        """When a follower that saw one write found the counter moved more than once; see ``counters``."""

    def ask(self) -> object | None:
        """The living owner of the memory, MOVED, or None. One alias's storage may go while others still hold the memory."""
        owner = self.owner.ask()
        if owner is None:
            for alias in list(self.aliases.values()):
                if alias.lender is not None and alias.lender is not self.owner and alias.lender.ask() is not None:
                    self.owner = alias.lender
                    return self.owner.ask()
        return owner

    def hold(self) -> object | None:
        """A strong reference while the memory may be read, else None."""
        if self.dying is not None:
            return self.dying.owner_at_death()
        owner = self.ask()
        if owner is MOVED or (self.owner.file is not None and not self.owner.file.is_there()):
            return None
        return owner

    @property
    def witnesses(self) -> tuple[Alias | Twin, ...]:
        """Whose version counters know of torch's writes."""
        return (*tuple(self.aliases.values()), *self.twins)

    @property
    def named(self) -> tuple[Alias, ...]:
        """The aliases that a write is told with: of hundreds the first and the last."""
        aliases = tuple(self.aliases.values())
        return aliases if len(aliases) <= 2 * MOST_ASKED else (*aliases[:MOST_ASKED], *aliases[-MOST_ASKED:])

    @property
    def newest(self) -> tuple[Alias | Twin, ...]:
        """Those of them that are asked after each line: a buffer may be handed out hundreds of times."""
        return (*tuple(self.aliases.values())[-MOST_ASKED:], *self.twins)

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.region.address + self.region.nbytes


def _users_mode_on() -> bool:
    """Whether a dispatch mode is on that is not ours."""
    modes = range(_modes())
    return not all(getattr(torch._C._get_dispatch_stack_at(place), "is_tensorwatch", False) for place in modes)


def version_probe(tensor: torch.Tensor) -> torch.Tensor | None:
    """A tensor without data that shares ``tensor``'s version counter, so that a death still knows who wrote before it.

    It holds neither the storage nor the graph. None where there is no counter (inference tensors) or where making one would
    be seen (a dispatch mode of the user's).
    """
    if tensor.is_inference() or (_modes() and _users_mode_on()):
        return None
    probe = tensor.detach()
    dtype = tensor.dtype
    _set_data(probe, _NO_DATA if dtype is torch.float32 else torch.empty(0, dtype=dtype, device="cpu"))
    return probe


class Ledger:
    """All live aliases. Not locked: its one caller holds the lock of ``writes``."""

    def __init__(self) -> None:
        self.pieces: dict[int, Piece] = {}
        self._by_region: dict[Region, Piece] = {}
        self.by_address: dict[int, dict[int, Piece]] = {}
        self._keys = itertools.count(1)
        self.last_serial = self.last_twin = 0
        self.large: dict[int, None] = {}
        """Keys of pieces that are compared block by block."""
        self.twins: dict[int, list[Twin]] = {}
        """By where their storage begins."""
        self.torch_side: dict[int, None] = {}
        """Keys of pieces that torch itself may write: a tensor's memory that was handed out, or was found written by torch."""

    def piece(self, region: Region, owner: Callable[[], Owner], file_backed: bool) -> tuple[Piece, bool]:
        """The piece of a region and whether it is new."""
        known = self._by_region.get(region)
        if known is not None:
            if known.ask() is not None:
                return known, False
            self.remove(known)
        made = Piece(next(self._keys), region, owner(), file_backed)
        self._by_region[region] = made
        if region.nbytes > BLOCK:
            self.large[made.key] = None
        self.pieces[made.key] = made
        return made, True

    def stale(self, region: Region) -> Piece | None:
        """A piece of the same region whose owner is gone: its memory belongs to somebody else now."""
        known = self._by_region.get(region)
        return known if known is not None and known.ask() is None else None

    def enter(self, piece: Piece, op: str, direction: str, trail: Trail, moment: Any) -> Alias:
        """A new alias of a piece."""
        self.last_serial += 1
        alias = Alias(self.last_serial, op, direction, trail, moment, piece)
        piece.aliases[alias.serial] = alias
        if direction.startswith("tensor->"):
            self.torch_side[piece.key] = None
        return alias

    def stand_at(self, piece: Piece, address: int) -> None:
        """Make a piece findable from the address at which a tensor's storage begins."""
        self.by_address.setdefault(address, {})[piece.key] = piece
        piece.twins = self.twins.get(address, ())

    def twin(self, tensor: torch.Tensor) -> None:
        """A tensor has come by a storage, with a counter of its own."""
        storage, probe = tensor.untyped_storage(), version_probe(tensor)
        if probe is None or (len(self.twins) >= MOST_TWINS and storage.data_ptr() not in self.twins):
            return
        known = self.twins.setdefault(storage.data_ptr(), [])
        known[:] = [one for one in known if one.storage() is storage][-MOST_TWINS:]
        self.last_twin -= 1
        known.append(Twin(self.last_twin, probe, weakref.ref(storage)))
        for piece in self.at(storage.data_ptr()):
            piece.twins = known

    def at(self, address: int) -> Iterable[Piece]:
        """Pieces known at the beginning of a storage."""
        found = self.by_address.get(address)
        return list(found.values()) if found else ()

    def first_at(self, address: int) -> int | None:
        """The key of a piece known at the beginning of a storage."""
        found = self.by_address.get(address)
        return next(iter(found), None) if found else None

    def note_versions(self, keys: Iterable[int] | None = None) -> None:
        """These, or all if they are few, were just compared: bumps of a counter so far belong to no later write."""
        if keys is None and len(self.pieces) > MOST_NOTED:
            return
        for piece in [self.pieces[key] for key in (self.pieces if keys is None else keys) if key in self.pieces]:
            piece.torch_wrote = 0
            if piece.key not in self.large:  # compared block by block, in several looks
                for witness in piece.witnesses:
                    if witness.probe is not None:
                        witness.version = witness.probe._version

    def overlapping(self, low: int, high: int) -> Iterator[Piece]:
        """Pieces that have a byte in ``[low, high)``."""
        for piece in list(self.pieces.values()):
            if piece.region.address < high and low < piece.end:
                yield piece

    def close(self, alias: Alias) -> Piece | None:
        """One side is gone. Returns the piece if that was its last alias."""
        if alias.closed:
            return None
        alias.closed = True
        alias.probe = None
        piece = alias.piece
        piece.aliases.pop(alias.serial, None)
        if alias.buffer is not None:
            alias.buffer.let_go()
        if alias.lender is not None:
            if piece.owner is alias.lender:
                piece.ask()  # another alias's lender takes over
            alias.lender.let_go()
        if piece.aliases:
            return None
        self.remove(piece)
        return piece

    def remove(self, piece: Piece) -> None:
        """Forget a piece."""
        self.pieces.pop(piece.key, None)
        self.torch_side.pop(piece.key, None)
        self.large.pop(piece.key, None)
        if self._by_region.get(piece.region) is piece:
            del self._by_region[piece.region]
        for address in (piece.region.address, getattr(piece.owner, "address", 0)):
            known = self.by_address.get(address)
            if known is not None and known.pop(piece.key, None) is not None and not known:
                del self.by_address[address]
