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
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch

_cell: Final[Any] = ctypes.c_char.from_buffer
_as_array: Final = partial(np.frombuffer, dtype=np.uint8)
_interface: Final = attrgetter("__array_interface__")
_GROW: Final = bytearray, array
MOST_FILES: Final = 256
MOST_VIEWS: Final = 16


class Backing(Protocol):
    """Says whether memory may be read."""

    def is_there(self) -> bool | None:
        """False where to read it would end the process, None where nobody can say."""


class Place(NamedTuple):
    """Where a buffer lies."""

    address: int
    nbytes: int


def place_of(source: Any) -> Place | None:
    """Where a buffer lies now; None of what is none, is closed, or is empty.

    All of it in one chain of C calls: a buffer that another thread finds handed out would refuse to grow.
    """
    try:
        if isinstance(source, _GROW):
            for address in map(ctypes.addressof, map(_cell, (source,))):
                return Place(address, len(source))
        for found in map(_interface, map(_as_array, (source,))):
            return Place(found["data"][0], found["shape"][0])
    except (TypeError, ValueError, BufferError):
        pass
    return None


def may_move(source: object) -> bool:
    """Whether a buffer may come to lie elsewhere."""
    return not isinstance(source, bytes)


def begin_of(owner: np.ndarray[Any, Any]) -> int:
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

    def is_there(self) -> bool | None:
        try:
            return self._mapping.size() >= self._needs
        except (ValueError, OSError):  # closed
            return False


class _File:
    """A file that torch has mapped, asked by its path. How long one that was deleted or replaced is now, nobody can say."""

    __slots__ = ("_needs", "_path", "_which")

    def __init__(self, path: str, needs: int) -> None:
        self._path = os.path.abspath(path)
        self._needs = needs
        self._which: tuple[int, int] | None = None
        with contextlib.suppress(OSError):
            found = os.stat(self._path)
            self._which = found.st_dev, found.st_ino

    def is_there(self) -> bool | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_size >= self._needs if (found.st_dev, found.st_ino) == self._which else None


_mapped: Final[deque[tuple[int, int, Backing]]] = deque(maxlen=MOST_FILES)
"""Where torch has mapped files, and which. Parts of such a storage do not know that they are a file's."""


def note_mapped(storage: torch.UntypedStorage, path: str) -> None:
    """Torch has mapped a file, from its beginning."""
    start, nbytes = storage.data_ptr(), storage.nbytes()
    _mapped.append((start, start + nbytes, _File(path, nbytes)))


def forget_mapped() -> None:
    """The session is over."""
    _mapped.clear()
    _askers.clear()


_askers: Final[list[Callable[[int], bool]]] = []


def ask_of_borrowed(asker: Callable[[int], bool]) -> None:
    """Who knows whether borrowed memory may be read, by where its storage begins."""
    _askers[:] = [asker]


def may_be_read(storage: torch.UntypedStorage) -> bool:
    """Whether the memory of a living storage is still there. What is torch's own is."""
    if storage.resizable():
        return True
    address = storage.data_ptr()
    file = file_of_storage(storage, address)
    return (file is None or bool(file.is_there())) and all(ask(address) for ask in _askers)


def file_of_storage(storage: torch.UntypedStorage, address: int) -> Backing | None:
    """The file behind a storage; None where there is none, or nobody knows."""
    if _mapped and not storage.resizable():
        for low, high, file in reversed(_mapped):
            if low <= address < high:
                return file
    path = storage.filename
    return _File(path, storage.nbytes()) if path is not None else None


def file_of_mapping(source: object) -> Backing | None:
    """The file behind a mapping, or behind views of one; None where there is none."""
    for _ in range(MOST_VIEWS):
        if isinstance(source, mmap.mmap):
            with contextlib.suppress(ValueError, OSError):  # closed, or of no file
                return _Mapping(source, max(source.size(), len(source)))
            return None
        if isinstance(source, memoryview):
            source = source.obj
        elif isinstance(source, np.ndarray):
            source = source.base
        elif isinstance(source, ctypes.Array | ctypes.Structure):
            kept = source._objects  # what from_buffer was given
            source = next(iter(kept.values()), None) if isinstance(kept, dict) else source._b_base_
        else:
            source = _kept_by(source)
        if source is None:
            return None
    return None


def _kept_by(source: object) -> object | None:
    """The one array or mapping that an object with an interface of its own keeps; what NumPy puts between keeps one, too.

    Asked past whatever its class may have to say.
    """
    try:
        values = list(object.__getattribute__(source, "__dict__").values())
    except (AttributeError, TypeError):
        return None
    kept = [value for value in values if isinstance(value, np.ndarray | mmap.mmap)]
    return kept[0] if len(kept) == 1 else None
