"""What stands behind memory that is only borrowed: a file, which may be made shorter, or a buffer, which may grow.

To read a mapping past its file's end kills the process (SIGBUS), and to read where a buffer lay before it grew shows somebody
else's bytes or kills it, too. So both are asked ahead of each look.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from array import array
from collections import deque
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch

_cell: Final[Any] = ctypes.c_char.from_buffer
_as_array: Final = partial(np.frombuffer, dtype=np.uint8)
_interface: Final = attrgetter("__array_interface__")
_GROW: Final = frozenset({bytearray, array})
_FIXED: Final = frozenset({bytes})
MOST_FILES: Final = 256


class Backing(Protocol):
    """Says whether memory may be read."""

    def is_there(self) -> bool:
        """False where to read it would end the process."""


class Place(NamedTuple):
    """Where a buffer lies."""

    address: int
    nbytes: int


def place_of(source: Any) -> Place | None:
    """Where a buffer lies now; None of what is none, is closed, or is empty.

    All of it in one chain of C calls: a buffer that another thread finds handed out would refuse to grow.
    """
    try:
        if type(source) in _GROW:
            for address in map(ctypes.addressof, map(_cell, (source,))):
                return Place(address, len(source))
        for found in map(_interface, map(_as_array, (source,))):
            return Place(found["data"][0], found["shape"][0])
    except (TypeError, ValueError, BufferError):
        pass
    return None


def may_move(source: object) -> bool:
    """Whether a buffer may come to lie elsewhere."""
    return type(source) not in _FIXED


def address_of(owner: np.ndarray[Any, Any]) -> int:
    """Where an array's memory begins now."""
    try:
        for address in map(ctypes.addressof, map(_cell, (owner,))):
            return address
    except (TypeError, ValueError, BufferError):  # read-only, or not in C's order
        pass
    return int(owner.__array_interface__["data"][0])


class _Mapping:
    """An object of ``mmap``, which can say how long its file is."""

    __slots__ = ("_mapping", "_needs")

    def __init__(self, mapping: mmap.mmap, needs: int) -> None:
        self._mapping = mapping
        self._needs = needs

    def is_there(self) -> bool:
        try:
            return self._mapping.size() >= self._needs
        except (ValueError, OSError):  # closed
            return False


class _File:
    """A file that torch has mapped, asked by its path: one that was replaced by a shorter one is taken for shortened."""

    __slots__ = ("_needs", "_path")

    def __init__(self, path: str, needs: int) -> None:
        self._path = path
        self._needs = needs

    def is_there(self) -> bool:
        try:
            return os.stat(self._path).st_size >= self._needs
        except OSError:
            return True


_mapped: Final[deque[tuple[int, int, str]]] = deque(maxlen=MOST_FILES)
"""Where torch has mapped files, and which. Parts of such a storage do not know that they are a file's."""


def note_mapped(storage: torch.UntypedStorage, path: str) -> None:
    """Torch has mapped a file."""
    start = storage.data_ptr()
    _mapped.append((start, start + storage.nbytes(), path))


def forget_mapped() -> None:
    """The session is over."""
    _mapped.clear()


def file_of_storage(storage: torch.UntypedStorage, address: int) -> Backing | None:
    """The file behind a storage; None where there is none, or nobody knows."""
    path = storage.filename
    if path is None and _mapped:
        path = next((name for low, high, name in _mapped if low <= address < high), None)
    if path is None:
        return None
    with contextlib.suppress(OSError):
        return _File(path, os.stat(path).st_size)
    return None


def file_of_mapping(source: object) -> Backing | None:
    """The file behind a mapping, or behind a view of one; None where there is none."""
    if isinstance(source, memoryview):
        source = source.obj
    if not isinstance(source, mmap.mmap):
        return None
    try:
        return _Mapping(source, max(source.size(), len(source)))
    except (ValueError, OSError):  # closed, or of no file
        return None
