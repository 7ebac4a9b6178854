"""Every tensor and array that share host memory right now, also those that met before the guard began or in C++.

All objects known to the garbage collector are asked for their referents; arrays are not tracked by it, but whoever
holds one is. Lazy objects stay lazy: types are compared, never ``isinstance`` (which runs ``__class__`` properties and
has made PyTorch warn), and no attribute of a stranger is read. Nothing is kept but weak references.
"""

from __future__ import annotations

import gc
import itertools
import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch

from tensorwatch_guard.words import Region

from .addresses import address_of
from .differences import has_gaps
from .frames import objects_in_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

CHUNK: Final = 50_000
"""Objects asked for their referents at once: bounds the memory this takes."""
PAIRS: Final = 256
"""Pairs of a tensor and an array that are compared at most within a group."""
WORK: Final[int] = 10_000
"""Bound for NumPy's exact overlap solver, which is exponential in bad cases."""
ITEMS: Final = 1000
"""Elements looked at in an array of objects."""

_OWN: Final = __name__.partition(".")[0]
_BASE: Final[Any] = np.ndarray.base
_PLAIN_DISPATCH: Final[Any] = torch.Tensor.__torch_dispatch__


@dataclass(frozen=True, slots=True)
class Member:
    """A tensor or an array. ``ref`` gives it while it lives, ``owner`` says whose the memory is.

    An array with a living weak reference cannot be resized in place (``ndarray.resize``): drop members early.
    """

    kind: Literal["tensor", "array"]
    type: str
    region: Region
    owner: str
    ref: weakref.ref[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.region.shape

    @property
    def dtype(self) -> str:
        """Its element type, by NumPy's or torch's name."""
        return self.region.dtype


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors and arrays in one stretch of memory ``[low, high)``, by address.

    ``overlap``: whether a tensor and an array have a byte in common, None where that is too hard to tell. Interleaved
    columns of one matrix are a group without overlap.
    """

    low: int
    high: int
    members: tuple[Member, ...]
    overlap: bool | None


@dataclass(frozen=True, slots=True)
class Census:
    """Groups, and trainable tensors whose memory was handed to NumPy (or came from a buffer) at some time."""

    groups: tuple[Group, ...]
    exported: tuple[Member, ...]


def groups() -> list[Group]:
    """All groups of tensors and arrays that share host memory now."""
    return list(census().groups)


def census() -> Census:
    """Walk the heap once. Takes a second for a million objects."""
    members: list[Member] = []
    exported: list[Member] = []
    with torch._C.DisableTorchFunction():
        arrays, tensors = _living(_callers_frame())
        behind = {id(_base(array)) for array in arrays}  # ``array.base`` of t.numpy(): nobody else holds that tensor
        members.extend(member for array in arrays if (member := _array(array)) is not None)
        for tensor in tensors:
            member = None if id(tensor) in behind else _tensor(tensor)
            if member is not None:
                members.append(member)
                if tensor.requires_grad and tensor.is_leaf and not tensor.untyped_storage().resizable():
                    exported.append(member)
        del arrays, tensors
    found = tuple(_grouped(members))
    grouped = {id(member) for group in found for member in group.members}
    return Census(found, tuple(member for member in exported if id(member) not in grouped))


# -- finding -----------------------------------------------------------------------------------------------------------


def _callers_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == _OWN:
        frame = frame.f_back
    return frame


def _living(frame: FrameType | None) -> tuple[list[Any], list[Any]]:
    """All arrays and tensors that can be reached from tracked objects and from running functions."""
    arrays: dict[int, Any] = {}
    tensors: dict[int, Any] = {}
    kinds: dict[int, Any] = {}
    objects = gc.get_objects()
    _sort(objects, kinds, arrays, tensors)
    for start in range(0, len(objects), CHUNK):
        _sort(_referents(objects[start : start + CHUNK]), kinds, arrays, tensors)
    del objects
    _sort(_referents([list(objects_in_frames(frame))]), kinds, arrays, tensors)
    for array in list(arrays.values()):
        _follow(array, kinds, arrays, tensors)
    return list(arrays.values()), list(tensors.values())


def _referents(objects: list[Any]) -> list[Any]:
    """What these objects refer to; through dictionaries and tuples that the collector has stopped to track."""
    found = gc.get_referents(*objects)
    todo, seen = found, set[int]()
    while todo:
        loose = [o for o in todo if (type(o) is dict or type(o) is tuple) and id(o) not in seen and not gc.is_tracked(o)]
        seen.update(map(id, loose))
        todo = gc.get_referents(*loose)
        found += todo
    return found


def _sort(objects: list[Any], kinds: dict[int, Any], arrays: dict[int, Any], tensors: dict[int, Any]) -> None:
    into: dict[int, dict[int, Any]] = {}
    # by their ids: a metaclass may have a hash of its own, or none
    for mark, kind in {id(kind): kind for kind in map(type, objects)}.items():
        known = kinds.get(mark, False)
        if known is False:
            line = type.mro(kind) if kind is type else kind.__mro__
            known = kinds[mark] = np.ndarray if np.ndarray in line else torch.Tensor if torch.Tensor in line else None
        if known is not None:
            into[mark] = arrays if known is np.ndarray else tensors
    if into:
        for one in [o for o in objects if id(type(o)) in into]:
            into[id(type(one))][id(one)] = one


def _follow(array: Any, kinds: dict[int, Any], arrays: dict[int, Any], tensors: dict[int, Any]) -> None:
    """Arrays behind an array: its base, and what an array of objects holds."""
    todo = [array]
    while todo:
        one = todo.pop()
        base = _base(one)
        behind = [base] if base is not None else []
        plain = one if type(one) is np.ndarray else np.ndarray.view(one, np.ndarray)
        if plain.dtype == object:
            behind += list(plain.flat[:ITEMS])
        before = len(arrays)
        new = [o for o in behind if id(o) not in arrays]
        _sort(new, kinds, arrays, tensors)
        if len(arrays) > before:
            todo += [o for o in new if id(o) in arrays]


# -- describing --------------------------------------------------------------------------------------------------------


def _array(array: Any) -> Member | None:
    plain = array if type(array) is np.ndarray else np.ndarray.view(array, np.ndarray)  # past what a subclass overrides
    if not plain.size or not plain.itemsize:
        return None
    steps = list(zip(plain.shape, plain.strides, strict=True))
    low = plain.__array_interface__["data"][0] + sum((length - 1) * step for length, step in steps if step < 0)
    nbytes = sum((length - 1) * abs(step) for length, step in steps) + plain.itemsize
    region = Region(low, nbytes, plain.shape, plain.strides, plain.itemsize, plain.dtype.name)
    owner: Any = array
    while np.ndarray in type(owner).__mro__ and _base(owner) is not None:
        owner = _base(owner)
    return Member("array", _name(array), region, "itself" if owner is array else _name(owner), weakref.ref(array))


def _base(array: Any) -> Any:
    return _BASE.__get__(array)


def _tensor(tensor: Any) -> Member | None:
    if type(tensor).__torch_dispatch__ is not _PLAIN_DISPATCH:  # a wrapper: it would be asked, and has no memory
        return None
    try:
        if not tensor.is_cpu or tensor.layout is not torch.strided or not tensor.numel():
            return None
        address, item = address_of(tensor), tensor.element_size()
        shape, steps = tuple(tensor.shape), tuple(step * item for step in tensor.stride())
    except (RuntimeError, NotImplementedError, TypeError):
        return None
    if not address:
        return None
    nbytes = sum((length - 1) * step for length, step in zip(shape, steps, strict=True)) + item
    region = Region(address, nbytes, shape, steps, item, str(tensor.dtype).removeprefix("torch."))
    return Member("tensor", _name(tensor), region, "storage", weakref.ref(tensor))


def _name(one: Any) -> str:
    kind = type(one)
    return f"{kind.__module__}.{kind.__qualname__}"


# -- grouping ----------------------------------------------------------------------------------------------------------


def _grouped(members: Iterable[Member]) -> Iterator[Group]:
    """Members whose stretches of memory meet, where both tensors and arrays are among them."""
    standing = sorted(members, key=lambda member: (member.region.address, -member.region.nbytes))
    together: list[Member] = []
    low = high = 0
    for member in (*standing, None):
        if member is not None and together and member.region.address < high:
            together.append(member)
            high = max(high, member.region.address + member.region.nbytes)
            continue
        if len({one.kind for one in together}) > 1:
            yield Group(low, high, tuple(together), _any_overlap(together))
        if member is not None:
            together, low = [member], member.region.address
            high = low + member.region.nbytes


def _any_overlap(members: list[Member]) -> bool | None:
    regions: dict[str, dict[Region, None]] = {"tensor": {}, "array": {}}
    for member in members:
        regions[member.kind][member.region] = None
    pairs = itertools.product(regions["tensor"], regions["array"])
    unsure = len(regions["tensor"]) * len(regions["array"]) > PAIRS
    for one, other in itertools.islice(pairs, PAIRS):
        met = overlapping(one, other)
        if met:
            return True
        unsure = unsure or met is None
    return None if unsure else False


def overlapping(one: Region, other: Region) -> bool | None:
    """Whether two regions have a byte in common, strides taken into account. None where that is too hard to tell."""
    if one.address + one.nbytes <= other.address or other.address + other.nbytes <= one.address:
        return False
    if not has_gaps(one) and not has_gaps(other):
        return True
    try:
        return bool(np.shares_memory(_phantom(one), _phantom(other), WORK))  # type: ignore[arg-type]
    except (RuntimeError, ValueError, OverflowError):  # TooHardError is a RuntimeError
        return None


class _Place:
    """Memory as NumPy's array interface describes it: an array made of it is only computed with, never read."""

    def __init__(self, region: Region) -> None:
        back = sum((length - 1) * step for length, step in zip(region.shape, region.strides, strict=True) if step < 0)
        self.__array_interface__ = {
            "data": (region.address - back, True),
            "shape": region.shape,
            "strides": region.strides,
            "typestr": f"|V{region.itemsize}",
            "version": 3,
        }


def _phantom(region: Region) -> np.ndarray[Any, Any]:
    return np.asarray(_Place(region))
