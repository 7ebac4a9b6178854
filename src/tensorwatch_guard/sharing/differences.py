"""What differs between two contents of one region, and how to say it in the array's own indices and values.

A region may have gaps (a column of a matrix, every second row): bytes in the gaps are its neighbours', and a
neighbour's write is no change of it. Offsets are mapped to indices by dividing through the strides, largest first,
which is right for every layout whose dimensions nest (slices, transposes, reversed axes); where elements overlap it
names one of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from tensorwatch_guard.words import Region

if TYPE_CHECKING:
    Integers = np.ndarray[Any, np.dtype[np.int64]]

Buffer = bytes | bytearray | memoryview

SAMPLE: Final = 3
"""How many values a description shows before it says "..."."""

_NAMES: Final = {  # torch's other names that str() never gives, but people write
    "half": "float16", "float": "float32", "double": "float64", "short": "int16", "int": "int32", "long": "int64",
}  # fmt: skip


class Described(NamedTuple):
    """A change in the array's own terms. Without its former bytes ``elements`` and the values are None."""

    region: str
    elements: int | None
    before: str | None
    after: str | None


class Span(Protocol):
    """A ``Change`` or a ``Write``: bytes ``[first, last)`` of a region, and what stood there."""

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def before(self) -> bytes | None: ...
    @property
    def after(self) -> bytes | None: ...


MOST_RUNS: Final = 256
"""Stretches of written elements that are told apart; where there are more, all between the first and the last counts."""


def written(region: Region, change: Span | None) -> list[Region]:
    """The stretches of memory that were written, in whole elements; all of the region where nobody knows.

    Bytes that were written with the value they had are left out, except where only the span is known.
    """
    if change is None:
        return [region]
    low, size = region.address + change.first, region.itemsize
    nbytes = change.last - change.first
    if change.before is not None and change.after is not None and not nbytes % size:
        old, new = (np.frombuffer(one, np.uint8).reshape(-1, size) for one in (change.before, change.after))
        differs = np.flatnonzero((old != new).any(axis=1))
        breaks = np.flatnonzero(np.diff(differs) > 1) + 1
        if len(differs) and len(breaks) < MOST_RUNS:
            return [_stretch(low + int(run[0]) * size, len(run) * size) for run in np.split(differs, breaks)]
    return [_stretch(low, nbytes)]


def _stretch(address: int, nbytes: int) -> Region:
    return Region(address, nbytes, (nbytes,), (1,), 1, "uint8")


class Axis(NamedTuple):
    """A dimension that moves in memory: ``length`` elements, each ``step`` > 0 bytes above the one below it."""

    step: int
    length: int
    dimension: int
    backwards: bool


def axes_of(region: Region) -> list[Axis]:
    """The dimensions of a region that move in memory, the largest step first."""
    moving = [
        Axis(abs(stride), length, dimension, stride < 0)
        for dimension, (length, stride) in enumerate(zip(region.shape, region.strides, strict=True))
        if length > 1 and stride
    ]
    moving.sort(reverse=True)
    return moving


def has_gaps(region: Region) -> bool:
    """Whether some bytes between the first and the last one of the region belong to none of its elements."""
    return region.itemsize * math.prod(axis.length for axis in axes_of(region)) < region.nbytes


def elements_of(region: Region, contents: Buffer) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The region's elements out of all bytes of its span: its moving dimensions and one for the bytes of an element."""
    axes = axes_of(region)
    return np.ndarray(
        (*(axis.length for axis in axes), region.itemsize), np.uint8, contents, 0, (*(axis.step for axis in axes), 1)
    )


def differing_span(region: Region, before: Buffer, after: Buffer, *, gaps: bool) -> tuple[int, int] | None:
    """Where two contents of a region differ: from the first to behind the last element, as byte offsets.

    Args:
        region: The region.
        before: All bytes of its span, as they were.
        after: The same, as they are.
        gaps: Whether the region has gaps (``has_gaps``).

    Returns:
        Offsets ``[first, last)``, at whole elements; None when they differ in the gaps only, or not at all.
    """
    if gaps:
        return _differing_elements(region, before, after)
    length, item = len(before), max(region.itemsize, 1)
    if before[:item] != after[:item] and before[-item:] != after[-item:]:
        return 0, length  # written from end to end: the usual case in a loop, and no need to search
    unequal = (np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8)).tobytes()
    first = unequal.find(1)
    if first < 0:
        return None
    last = unequal.rfind(1) + 1
    return first - first % item, min(length, last + -last % item)


def _differing_elements(region: Region, before: Buffer, after: Buffer) -> tuple[int, int] | None:
    unequal = (elements_of(region, before) != elements_of(region, after)).any(axis=-1)
    if not unequal.any():
        return None
    steps = [axis.step for axis in axes_of(region)]
    offsets = sum(index * step for index, step in zip(np.nonzero(unequal), steps, strict=True))
    return int(np.min(offsets)), int(np.max(offsets)) + region.itemsize


def describe(region: Region, change: Span) -> Described:
    """Say a change in the array's own indices and values.

    Args:
        region: The region that changed, as its array or tensor sees it.
        change: Which of its bytes changed; the values are taken from its ``before`` and ``after``.

    Returns:
        The smallest block of indices that holds the change (``[3]``, ``[0:128]``, ``[1, :]``), how many elements
        differ, and the first few values before and after.
    """
    axes = axes_of(region)
    offsets = _differing_offsets(change)
    if offsets is None:
        return Described(_block_between(region, axes, change), None, None, None)
    starts, indices = _elements_at(region, axes, offsets)
    if not len(starts):
        return Described(_block_between(region, axes, change), None, None, None)
    lows = {axis.dimension: int(index.min()) for axis, index in zip(axes, indices, strict=True)}
    highs = {axis.dimension: int(index.max()) for axis, index in zip(axes, indices, strict=True)}
    whole = change.before is not None and len(change.before) == change.last - change.first
    return Described(
        _spelled(region, lows, highs) if whole else _block_between(region, axes, change),
        len(starts) if whole else None,
        _values(region, change.before, change.first, starts),
        _values(region, change.after, change.first, starts),
    )


def _differing_offsets(change: Span) -> Integers | None:
    if change.before is None or change.after is None or len(change.before) != len(change.after):
        return None
    unequal = np.frombuffer(change.before, np.uint8) != np.frombuffer(change.after, np.uint8)
    return np.flatnonzero(unequal) + change.first


def _elements_at(region: Region, axes: list[Axis], offsets: Integers) -> tuple[Integers, list[Integers]]:
    """Where the elements that hold these bytes begin, in the order of memory, and their index along each axis."""
    rest, indices = offsets, []
    for axis in axes:
        index = np.minimum(rest // axis.step, axis.length - 1)
        rest = rest - index * axis.step
        indices.append(index)
    starts = offsets - rest
    own = rest < region.itemsize
    own[1:] &= starts[1:] != starts[:-1]  # offsets ascend: the bytes of one element stand together
    kept = [index[own] for index in indices]
    return starts[own], [
        axis.length - 1 - index if axis.backwards else index for axis, index in zip(axes, kept, strict=True)
    ]


def _block_between(region: Region, axes: list[Axis], change: Span) -> str:
    """The block of indices from the first to the last byte of a change of which no more is known."""
    lows: dict[int, int] = {}
    highs: dict[int, int] = {}
    low, high, free = change.first, max(change.last - 1, change.first), False
    for axis in axes:
        first, last = min(low // axis.step, axis.length - 1), min(high // axis.step, axis.length - 1)
        low, high = low - first * axis.step, high - last * axis.step
        if free:  # an outer index spans a range already, so every inner one occurs
            first, last = 0, axis.length - 1
        free = free or first != last
        if axis.backwards:
            first, last = axis.length - 1 - last, axis.length - 1 - first
        lows[axis.dimension], highs[axis.dimension] = first, last
    return _spelled(region, lows, highs)


def _spelled(region: Region, lows: dict[int, int], highs: dict[int, int]) -> str:
    if not region.shape:
        return "[()]"
    parts = []
    for dimension, length in enumerate(region.shape):
        low, high = lows.get(dimension, 0), highs.get(dimension, length - 1)
        if low == high:
            parts.append(str(low))
        elif high - low + 1 == length and len(region.shape) > 1:
            parts.append(":")
        else:
            parts.append(f"{low}:{high + 1}")
    return f"[{', '.join(parts)}]"


def _values(region: Region, known: bytes | None, offset: int, starts: Integers) -> str | None:
    """The first few elements that begin at ``starts``, out of the bytes known from ``offset`` on."""
    if known is None:
        return None
    item = region.itemsize
    pieces = [known[start - offset : start - offset + item] for start in starts[:SAMPLE].tolist() if start >= offset]
    texts = [_value(region.dtype, piece) for piece in pieces if len(piece) == item]
    if not texts:
        return None
    return ", ".join(texts) + (", ..." if len(starts) > len(texts) else "")


def _value(dtype: str, piece: bytes) -> str:
    """One element as its type prints it; its bytes in hexadecimal where NumPy does not know the type."""
    name = dtype.removeprefix("torch.")
    try:
        if name == "bfloat16":  # the upper half of a float32
            return str(np.frombuffer(b"\0\0" + piece, "<f4")[0])
        return str(np.frombuffer(piece, np.dtype(_NAMES.get(name, name)))[0])
    except (TypeError, ValueError):
        return "0x" + piece.hex()
