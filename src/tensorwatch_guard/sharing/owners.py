"""Who keeps a piece of memory alive, and whether it is still where it was.

A side of an alias lives as long as its memory's owner: the storage on torch's side, the object at the end of the ``.base``
chain on NumPy's. A remembered address is never read: the living owner is asked again for address and size first.
"""

from __future__ import annotations

import array
import ctypes
import sys
import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch

from ..words import Region
from .backing import begin_of, file_of_mapping, file_of_storage, may_move, place_of

MOVED: Final = object()
"""What an owner says of itself when it lives but its memory is elsewhere now, or has another size."""

_BETWEEN: Final[type] = type(np.lib.stride_tricks.as_strided(np.zeros(1)).base)
"""What ``as_strided`` and sliding windows put between a view and its array: it holds the array as its own ``base``."""


class StorageOwner:
    """A torch storage: asked for its data pointer and size each time."""

    __slots__ = ("address", "file", "nbytes", "ref")

    def __init__(self, storage: torch.UntypedStorage, callback: Callable[[Any], object] | None = None) -> None:
        self.ref = weakref.ref(storage, callback)
        self.address = storage.data_ptr()
        self.nbytes = storage.nbytes()
        self.file = file_of_storage(storage, self.address)

    def ask(self) -> object | None:
        """The living storage, MOVED, or None when it is gone."""
        storage = self.ref()
        if storage is None:
            return None
        if storage.data_ptr() != self.address or storage.nbytes() < self.nbytes:
            return MOVED
        return MOVED if self.file is not None and self.file.is_there() is False else storage

    @property
    def may_move(self) -> bool:
        """Whether its memory may go while it lives, and no call that is watched tells of it."""
        return self.file is not None

    def hold(self) -> object | None:
        """A strong reference while the memory may be read, else None."""
        owner = self.ask()
        return None if owner is MOVED or (self.file is not None and not self.file.is_there()) else owner


class ArrayOwner:
    """Memory of an array that a storage borrows. Only ``resize`` gives it other memory.

    Holds the array that was passed, as the storage itself does for as long as it lives: no life is made longer. A weak
    reference would be felt: NumPy refuses ``resize(refcheck=False)`` while there is one.
    """

    __slots__ = ("address", "array", "begins", "file", "nbytes", "place", "ref")

    def __init__(
        self, storage: torch.UntypedStorage, array: np.ndarray[Any, Any], callback: Callable[[Any], object] | None = None
    ) -> None:
        self.ref = weakref.ref(storage, callback)
        self.address = storage.data_ptr()
        self.array: np.ndarray[Any, Any] | None = array
        owner = last_array(array)
        self.nbytes = owner.nbytes
        self.begins = begin_of(owner) if owner.base is None else 0
        """Where the memory of an array that owns it begins; one that only views somebody's cannot be resized."""
        self.file = file_of_mapping(owner.base) if owner.base is not None else None
        self.place = place_of(owner.base) if isinstance(owner.base, ctypes.Array | ctypes.Structure) else None
        """Of memory of C's, which ``ctypes.resize`` moves although somebody views it."""

    def let_go(self) -> None:
        """The storage is gone, or has other memory: give the array back."""
        self.array = self.file = None

    def owner_at_death(self) -> object | None:
        """The array that owns the memory, asked in the call-back of the storage's death; None where it has moved."""
        owner = last_array(self.array) if self.array is not None else None
        return owner if owner is not None and self._has_stayed(owner) else None

    def _has_stayed(self, owner: np.ndarray[Any, Any]) -> bool:
        if owner.nbytes != self.nbytes or (self.begins and begin_of(owner) != self.begins):
            return False
        if self.place is not None and place_of(owner.base) != self.place:
            return False
        return self.file is None or self.file.is_there() is not False

    @property
    def may_move(self) -> bool:
        """As a storage's. That it is resized is known from the line: see ``asides``."""
        return self.file is not None or self.place is not None

    def ask(self) -> object | None:
        """The living array that owns the memory, MOVED, or None when it is gone."""
        storage, array = self.ref(), self.array
        if storage is None or array is None or storage.data_ptr() != self.address:
            return None
        owner = last_array(array)
        return owner if self._has_stayed(owner) else MOVED

    def hold(self) -> object | None:
        """A strong reference while the memory may be read, else None."""
        owner = self.ask()
        return None if owner is MOVED or (self.file is not None and not self.file.is_there()) else owner


class ExportedOwner(StorageOwner):
    """Memory of a tensor that a DLPack capsule shows: unlike ``numpy()`` that does not keep the storage from being resized."""

    __slots__ = ()

    @property
    def may_move(self) -> bool:
        """By any operation, also by one that nobody watches."""
        return True


class LentOwner(StorageOwner):
    """Memory of a tensor whose array was lent to torch again: the first storage is the owner, the array is what was passed."""

    __slots__ = ("array",)

    def __init__(self, storage: torch.UntypedStorage, array: np.ndarray[Any, Any]) -> None:
        super().__init__(storage)
        self.array: np.ndarray[Any, Any] | None = array

    def let_go(self) -> None:
        """The borrowing storage is gone: give the array back."""
        self.array = None

    def owner_at_death(self) -> object | None:
        """The owning storage, which does not die with the borrowing one."""
        return self.hold()


_COUNTED: Final = frozenset({bytes, bytearray, array.array})
"""Buffers whose holders can be counted."""


class BorrowedOwner:
    """Memory of an object that cannot be referred to weakly (bytes, a buffer): the storage that borrows it stands for it."""

    __slots__ = ("file", "held", "place", "ref", "source")

    def __init__(self, storage: torch.UntypedStorage, source: object, callback: Callable[[Any], object] | None = None) -> None:
        self.ref = weakref.ref(storage, callback)
        self.source = _weak(source)
        self.held = source if self.source is None or type(source) in _COUNTED else None
        """The buffer itself, which the storage holds for as long as it lives: no life is made longer."""
        self.place = place_of(source) if may_move(source) else None
        self.file = file_of_mapping(source) or file_of_storage(storage, storage.data_ptr())

    def let_go(self) -> None:
        """The storage is gone: give the buffer back."""
        self.held = self.file = None

    def held_elsewhere(self) -> bool:
        """Whether somebody besides the storage has the buffer. Of a mapping or memory of C's nobody can say."""
        held = self.held
        if type(held) not in _COUNTED:
            return True
        # here: the storage, the slot, the name and the question
        return sys.getrefcount(held) > 4

    def ask(self) -> object | None:
        """The living storage, MOVED where the buffer lies elsewhere now or its file has become shorter, or None."""
        storage = self.ref()
        if storage is None:
            return None
        source = self.source() if self.source is not None else self.held
        if source is not None and self.place is not None and place_of(source) != self.place:
            return MOVED
        return MOVED if self.file is not None and self.file.is_there() is False else storage

    @property
    def may_move(self) -> bool:
        """As a storage's."""
        return self.place is not None or self.file is not None

    def hold(self) -> object | None:
        """A strong reference while the memory may be read, else None."""
        owner = self.ask()
        return None if owner is MOVED or (self.file is not None and not self.file.is_there()) else owner


Owner = StorageOwner | ArrayOwner | BorrowedOwner
Lender = ArrayOwner | LentOwner


def _weak(source: object) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(source)
    except TypeError:
        return None


def end_of_chain(array: np.ndarray[Any, Any]) -> Any:
    """The object at the end of an array's ``.base`` chain: an array that owns its data, a tensor, a mapping, a buffer."""
    last = last_array(array)
    owner: Any = last if last.base is None else last.base
    if isinstance(owner, memoryview) and owner.obj is not None:
        return owner.obj
    return owner


def is_lent_again(array: np.ndarray[Any, Any]) -> bool:
    """Whether the memory of an array is a tensor's."""
    return array.base is not None and isinstance(end_of_chain(array), torch.Tensor)


def last_array(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The last array of the chain: its life is that of all views of it."""
    while True:
        base = array.base
        if isinstance(base, np.ndarray):
            array = base
        elif type(base) is _BETWEEN and isinstance(inner := getattr(base, "base", None), np.ndarray):
            array = inner
        else:
            return array


def region_of(tensor: torch.Tensor) -> Region:
    """The memory a strided tensor sees."""
    size = tensor.element_size()
    shape = tuple(tensor.shape)
    if tensor.is_contiguous():
        nbytes = tensor.numel() * size
    else:
        nbytes = (1 + sum((n - 1) * s for n, s in zip(shape, tensor.stride(), strict=True))) * size
    strides = tuple(stride * size for stride in tensor.stride())
    return Region(tensor.data_ptr(), nbytes, shape, strides, size, str(tensor.dtype).removeprefix("torch."))


def array_owner(array: np.ndarray[Any, Any], storage: torch.UntypedStorage) -> Owner:
    """The owner of the memory of ``array``, which was passed to torch and is borrowed by ``storage``."""
    end = end_of_chain(array)
    if isinstance(end, torch.Tensor):
        return LentOwner(end.untyped_storage(), array)
    return ArrayOwner(storage, array)


def owner_of(tensor: torch.Tensor, array: np.ndarray[Any, Any] | None) -> Callable[[], Owner]:
    """Makes the owner of shared memory: the tensor's storage, or the passed array's chain."""
    if array is None:
        return lambda: StorageOwner(tensor.untyped_storage())
    return lambda: array_owner(array, tensor.untyped_storage())


def is_file_backed(array: np.ndarray[Any, Any]) -> bool:
    """Whether the memory is a file's: such memory is not read for a fingerprint when it is large."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap):
            return True
        owner = owner.base
    return False
