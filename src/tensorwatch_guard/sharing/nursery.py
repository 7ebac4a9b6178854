"""Aliases that have just been made. Most die at once (``loss.numpy().copy()``), so each costs little until the next event.

A newborn holds a copy of its memory, a probe of its version counter and weak references; it is neither in the ledger nor in
the contents. The next event takes over what still lives. One that dies compares its copy in the call-back, while the
memory is still there.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from threading import get_ident
from types import CodeType
from typing import Any, Final, Protocol

import numpy as np
import torch

from ..sites import Trail
from ..words import Region
from .copies import GLANCE
from .graph import sequence_number
from .interrupted import pass_on
from .ledger import version_probe
from .moments import Moment, Stamp, tick
from .owners import ArrayOwner, StorageOwner

BIRTH_SIZE: Final = 64 << 10
"""Larger memory goes the long way at once: a copy of it is dear."""
MOST_TYPES: Final = 256
_types: Final[dict[int, Any]] = {}
_NOTHING: Final = bytearray()
_NOBODY: Final[Iterator[int]] = iter(())


def _array_of(nbytes: int) -> Any:
    """The ctypes array of so many bytes; a view through it costs a quarter of a slice of a memoryview."""
    known = _types.get(nbytes)
    if known is None:
        if len(_types) >= MOST_TYPES:
            _types.clear()
        known = _types[nbytes] = ctypes.c_char * nbytes
    return known


class Line(Protocol):
    """What counts the aliases of one line."""

    gone: int
    """Those of them that died as they were born."""


class Newborn:
    """One alias between its making and the next event."""

    __slots__ = (
        "address",
        "at",
        "copy",
        "direction",
        "dtype",
        "ident",
        "nbytes",
        "op",
        "owner",
        "probe",
        "seen",
        "sequence",
        "serial",
        "shape",
        "tensor",
        "torch_wrote",
        "version",
        "view",
    )

    def __init__(self, op: str, direction: str, at: Trail | tuple[CodeType, int], tensor: torch.Tensor) -> None:
        self.op = op
        self.direction = direction
        self.at = at
        self.ident = get_ident()
        self.sequence = sequence_number()
        self.serial = tick()
        self.seen: Stamp = (
            Moment(at, self.ident, self.sequence, 0, self.serial)
            if isinstance(at, Trail)
            else (*at, self.ident, self.sequence, self.serial)
        )
        """When its memory was last found as it was at birth."""
        self.address = tensor.data_ptr()
        self.nbytes = tensor.nbytes
        self.shape = tensor.shape
        self.dtype = tensor.dtype
        self.probe = version_probe(tensor)
        self.version = tensor._version if self.probe is not None else 0
        self.owner: StorageOwner | ArrayOwner | None = None
        self.tensor: weakref.ref[Any] | None = None
        """The tensor that stands behind the array; None for ``array->tensor``: a weak reference to a tensor of the user's
        would make ``torch.utils.swap_tensors`` refuse it."""
        self.torch_wrote = 0
        """As a piece's: see ``counters``."""
        self.view: Any = None
        """The memory itself, by the buffer protocol; None where it is not compared."""
        self.copy = _NOTHING

    @property
    def trail(self) -> Trail:
        """Where it was handed out: the user's own expression."""
        return self.at if isinstance(self.at, Trail) else Trail(*self.at, None, -1)

    @property
    def region(self) -> Region:
        """The memory as its tensor saw it."""
        size = self.dtype.itemsize
        steps = [size]
        for length in reversed(self.shape[1:]):
            steps.append(steps[-1] * length)
        name = str(self.dtype).removeprefix("torch.")
        return Region(self.address, self.nbytes, tuple(self.shape), tuple(reversed(steps[: len(self.shape)])), size, name)

    def is_there(self) -> bool:
        """Whether the memory is where it was: the owner is asked, the address alone is never trusted."""
        return self.owner is not None and self.owner.hold() is not None

    def is_as_it_was(self, stamp: Stamp) -> None:
        """It was looked at and had not changed: what is found later was written after this."""
        self.seen = stamp
        if self.probe is not None:
            self.version = self.probe._version
            self.torch_wrote = 0

    def changed(self) -> bool:
        """Whether the memory is there and differs from its copy."""
        return self.view is not None and self.is_there() and bool(self.copy != self.view)

    def changed_at_death(self) -> bool:
        """The same in the call-back of the death, when the storage cannot be asked any more."""
        owner = self.owner
        if isinstance(owner, ArrayOwner):
            held = owner.owner_at_death()
            return self.view is not None and held is not None and bool(self.copy != self.view)
        return self.changed()


class Nursery:
    """All newborns of a session. ``changed_at_death`` gets one whose memory was written before it died."""

    def __init__(self, changed_at_death: Callable[[Newborn], None]) -> None:
        self.newborns: dict[int, Newborn] = {}
        self.by_address: dict[int, Newborn] = {}
        self._changed_at_death = changed_at_death
        self.large = False
        """Whether there was ever one too large to be looked at in passing."""
        self._turn: Iterator[int] = iter(())

    def __bool__(self) -> bool:
        return bool(self.newborns)

    def add(
        self,
        op: str,
        direction: str,
        at: Trail | tuple[CodeType, int],
        tensor: torch.Tensor,
        array: np.ndarray[Any, Any] | None,
        line: Line,
        compared: bool,
    ) -> int:
        """Memory was handed out. Returns the event's serial number.

        Args:
            op: the operation's name.
            direction: ``tensor->array`` or ``array->tensor``.
            at: code and instruction of the user's frame, or a trail through a library.
            tensor: the tensor that stands behind the array, or that was made of it.
            array: the array that was passed and owns or views an array's memory; None for ``tensor->array``, where ``tensor``
                has the array's life.
            line: where it was handed out.
            compared: whether a copy is kept, to be compared with.
        """
        born = Newborn(op, direction, at, tensor)

        def died(_: object) -> object:
            try:  # contextlib.suppress would be half of what this costs
                if self.leave(born):
                    if born.changed_at_death():
                        self._changed_at_death(born)
                    else:
                        line.gone += 1
            except BaseException as error:
                return pass_on(error)
            return None

        storage = tensor.untyped_storage()
        owner: StorageOwner | ArrayOwner
        if array is None:
            born.tensor = weakref.ref(tensor, died)
            owner = StorageOwner(storage)
        else:
            owner = ArrayOwner(storage, array, died)
        born.owner = owner
        if compared and (not owner.may_move or owner.hold() is not None):
            born.view = _array_of(born.nbytes).from_address(born.address)
            born.copy = bytearray(born.view)
        self.large = self.large or len(born.copy) > GLANCE
        self.newborns[id(born)] = born
        self.by_address[owner.address] = born
        self._turn = _NOBODY
        return born.serial

    def at(self, address: int) -> Newborn | None:
        """The newborn whose storage begins there."""
        return self.by_address.get(address)

    def next(self) -> Newborn | None:
        """The one whose turn it is: the newest after each birth, then the one before it, round and round."""
        newborns = self.newborns
        for key in self._turn:
            born = newborns.get(key)
            if born is not None:
                return born
        # of names: a reversed iterator over a dict that others change reads beyond its end (CPython 3.11), and a list of
        # newborns would keep arrays alive
        names = list(newborns)
        names.reverse()
        self._turn = iter(names)
        return newborns.get(names[0]) if names and next(self._turn, None) is not None else None

    def leave(self, born: Newborn) -> bool:
        """Take one out; False where somebody else did so before."""
        if self.newborns.pop(id(born), None) is None:
            return False
        owner = born.owner
        if owner is not None and self.by_address.get(owner.address) is born:
            del self.by_address[owner.address]
        return True

    def clear(self) -> None:
        """Forget all."""
        self.newborns.clear()
        self.by_address.clear()


__all__ = ["BIRTH_SIZE", "Newborn", "Nursery"]
