"""Descriptors that live beside the program's own: out of its way, and closed only while they are still ours.

A program may close descriptors it does not know (daemons close "all" of them) and open its own under the same
numbers. Nothing of ours may then write into, or close, what is the program's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

with contextlib.suppress(ImportError):  # Windows, where there is no pages road
    import fcntl

_HIGH: Final = 64
"""Lowest number for ours where the limit allows it: above what most programs reach."""
_PROT_READ: Final = 1
_MAP_SHARED: Final = 1


@contextlib.contextmanager
def standard_streams_left_free() -> Iterator[None]:
    """What is opened in this block gets no number below 3, even in a program that has closed its standard streams."""
    placeholders: list[int] = []
    try:
        while not placeholders or placeholders[-1] < 3:
            placeholders.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        yield
    finally:
        for number in placeholders:
            os.close(number)


def high(descriptor: int) -> int:
    """The same file under a high number, close-on-exec."""
    try:
        number = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:
        return descriptor
    os.close(descriptor)
    return number


class Owned:
    """A descriptor that remembers which file it is."""

    def __init__(self, descriptor: int) -> None:
        self.number = high(descriptor)
        self._identity = self._look()

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.fstat(self.number)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def still_ours(self) -> bool:
        return self.number >= 0 and self._look() == self._identity

    def close(self) -> None:
        """Close it, unless the number has come to mean another file."""
        if self.still_ours():
            os.close(self.number)
        self.number = -1


def mapped(descriptor: int, length: int) -> memoryview:
    """The beginning of a file as memory to read. Unlike :mod:`mmap` it keeps no descriptor.

    The mapping lives as long as any view of it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = libc.mmap(None, length, _PROT_READ, _MAP_SHARED, descriptor, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    memory = (ctypes.c_ubyte * length).from_address(address)
    weakref.finalize(memory, libc.munmap, address, length).atexit = False  # somebody may still look at it then
    return memoryview(memory).toreadonly().cast("B")
