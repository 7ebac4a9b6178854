"""Whether what a graph saved holds again what it held, or was never touched, by the bytes of the writes in question.

A write is known as a span: from its first byte to its last. What lies between may be another channel's, other rows', or
bytes that a later write has put back. Where the bytes of all writes to a saved value are known, its elements themselves
are compared.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .addresses import address_of
from .backing import may_be_read
from .fingerprints import BLOCK, hasher

if TYPE_CHECKING:
    import torch

    from ..words import Mark

MOST_PARTS: Final = 64
"""Changes of one piece that are kept apart."""
LARGEST: Final = 1 << 20
"""Bytes of a saved value's span above which nothing is compared."""


class Held(NamedTuple):
    """A write's span in memory from ``low``, and what stood there before and after it."""

    low: int
    before: bytes
    after: bytes


def in_one(first: Sequence[Held], second: Sequence[Held]) -> tuple[Held, ...] | None:
    """The changes of two writes, one after the other; None where they are too many to be kept."""
    found = list(first)
    for part in second:
        high = part.low + len(part.before)
        over = [at for at, one in enumerate(found) if one.low < high and part.low < one.low + len(one.before)]
        known = found[over[0]] if len(over) == 1 else None
        if known is None or (known.low, len(known.before)) != (part.low, len(part.before)):
            found.append(part)
        elif known.before == part.after:
            del found[over[0]]
        else:
            found[over[0]] = Held(part.low, known.before, part.after)
    return tuple(found) if len(found) <= MOST_PARTS else None


def ends_of(first: int, before: bytes) -> tuple[Mark, ...]:
    """The blocks at both ends of what was written from an offset on, as ``Change.marks`` has them: both ends differ."""
    last, digest = first + len(before), hasher()
    return (first, first + BLOCK, digest(before[:BLOCK])), (last - BLOCK, last, digest(before[-BLOCK:]))


def surely_differs(value: torch.Tensor, blocks: Iterable[Mark]) -> bool | None:
    """Whether a block of large memory, by address and with its hash before it was written, lies in a value and is not again
    what it was. None where no block lies in it: what was written may be other rows, or another channel.
    """
    found = None
    start, end = address_of(value), address_of(value) + value.nbytes
    if not value.is_contiguous() or not may_be_read(value.untyped_storage()):
        return None
    for low, high, before in blocks:
        if start <= low and high <= end:
            found = hasher()((ctypes.c_char * (high - low)).from_address(low)) != before
            if found:
                return True
    return found


class Value:
    """A saved value's memory, as it is now. The value has to be held by the caller for as long."""

    def __init__(self, value: torch.Tensor) -> None:
        self._low = address_of(value)
        item = value.element_size()
        self._shape = (*value.shape, item)
        self._strides = (*(stride * item for stride in value.stride()), 1)
        span = sum((length - 1) * stride for length, stride in zip(self._shape, self._strides, strict=True)) + 1
        reads = 0 < span <= LARGEST and self._low and may_be_read(value.untyped_storage())
        self._now = bytes((ctypes.c_char * span).from_address(self._low)) if reads else b""

    @property
    def known(self) -> bool:
        """Whether it can be compared."""
        return bool(self._now)

    def touched_by(self, write: Sequence[Held]) -> bool:
        """Whether a write changed a byte of some element."""
        return any((self._with(part.low, part.before) != self._with(part.low, part.after)).any() for part in write)

    def differs_from_before(self, writes: Sequence[Held]) -> bool:
        """Whether some element is not what it was before these writes, which are in their order."""
        then = bytearray(self._now)
        for write in reversed(writes):
            self._lay(then, write.low, write.before)
        return bool((self._elements(then) != self._elements(self._now)).any())

    def _with(self, low: int, contents: bytes) -> np.ndarray[Any, Any]:
        memory = bytearray(self._now)
        self._lay(memory, low, contents)
        return self._elements(memory)

    def _lay(self, memory: bytearray, low: int, contents: bytes) -> None:
        first, last = max(low, self._low), min(low + len(contents), self._low + len(memory))
        if first < last:
            memory[first - self._low : last - self._low] = contents[first - low : last - low]

    def _elements(self, memory: bytes | bytearray) -> np.ndarray[Any, Any]:
        return np.ndarray(self._shape, np.uint8, memory, 0, self._strides)
