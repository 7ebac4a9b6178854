"""Which pages of large, cold memory were written since the last look: userfaultfd's asynchronous mode and
PAGEMAP_SCAN.

Nobody is stopped: the kernel lets a first write to a page pass and remembers it, for 0.6 to 0.9 us a page.
Works without privileges, for any kind of mapping, from Linux 6.7 on. Writes of equal values count as writes:
whoever asks compares contents. Not seen: other processes' writes to shared memory, and DMA.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import weakref
from typing import Final

from .kernel import (
    PAGE,
    WP_ASYNC,
    WP_HUGETLBFS_SHMEM,
    WP_UNPOPULATED,
    merged,
    minus,
    open_uffd,
    outer_pages,
    platform_refusal,
    protect,
    refusal,
    register,
    unregister,
)

_PAGEMAP_SCAN: Final = 0xC0606610
_PAGE_IS_WRITTEN: Final = 2
_WP_MATCHING: Final = 1
_CHECK_WPASYNC: Final = 2
_ROOM: Final = 512
"""Ranges one ioctl can answer with; more are asked for again."""

_argument: Final = struct.Struct("12Q")
_libc: Final = ctypes.CDLL(None, use_errno=True) if platform_refusal() is None else None
_everyone: Final[weakref.WeakSet[AsyncPages]] = weakref.WeakSet()


def async_road() -> tuple[bool, str]:
    """Whether pages written since the last look can be asked for here, and why (not)."""
    pages = AsyncPages()
    if pages.why is not None:
        return False, pages.why
    with mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as probe:  # a page that nobody else can watch
        byte = ctypes.c_char.from_buffer(probe)
        opened = pages.add(ctypes.addressof(byte), len(probe))
        pages.close()
        del byte
    return opened, "open" if opened else pages.why or "the kernel refused"


class AsyncPages:
    """Watches memory page by page without stopping anybody. What :meth:`scan` leaves out was certainly not
    written.

    ``why`` says in words why nothing can be watched, None while it can. A forked child's copy watches nothing.
    """

    def __init__(self) -> None:
        self.why: str | None = platform_refusal()
        self._uffd = -1
        self._pagemap = -1
        self._ranges: dict[int, tuple[int, int]] = {}
        self._lent: dict[int, tuple[int, int]] = {}
        self._back: set[int] = set()
        self._process = os.getpid()
        _everyone.add(self)

    def add(self, address: int, nbytes: int) -> bool:
        """Watch all pages of a region from now on; False where that cannot be (``why``) or the memory is refused."""
        if nbytes <= 0 or not self._open():
            return False
        pages = outer_pages(address, nbytes)
        if not self._arm(pages):
            return False
        self._ranges[address] = pages
        return True

    def remove(self, address: int) -> None:
        """End the watch that began with ``add(address, ...)``. Safe in a weak reference's call-back, on any thread."""
        self._lent.pop(address, None)
        pages = self._ranges.pop(address, None)
        if pages is not None and self._usable():
            self._release(pages)

    def scan(self) -> list[tuple[int, int]]:
        """``(start, end)`` of pages that were, or may have been, written since the last scan; watches them again."""
        if not self._usable():
            return list({*self._ranges.values(), *self._lent.values()})
        written = []
        for start, end in merged(list(self._ranges.values())):
            written += self._written(start, end)
        for address, pages in list(self._lent.items()):  # nobody looked meanwhile
            written.append(pages)
            if address in self._back and self._arm(pages):
                self._back.discard(address)
                if self._lent.pop(address, None) is not None:
                    self._ranges[address] = pages
        return merged(written)

    def close(self) -> None:
        """Stop watching everything. The kernel forgets all protection with the descriptor."""
        if self._process == os.getpid():
            self._forget()
        self._ranges.clear()
        self._lent.clear()

    def lend(self, start: int, end: int) -> None:
        """Free pages for the synchronous road: a page has one watcher. Until given back they scan as written."""
        for address, pages in list(self._ranges.items()):
            if pages[0] < end and start < pages[1] and self._usable():
                self._back.discard(address)
                self._lent[address] = pages
                self._ranges.pop(address, None)
                self._release(pages)

    def take_back(self, start: int, end: int) -> None:
        """The synchronous road needs the pages no longer; the next scan watches them again."""
        self._back.update(address for address, pages in list(self._lent.items()) if pages[0] < end and start < pages[1])

    def _usable(self) -> bool:
        return self._uffd >= 0 and self._process == os.getpid()

    def _open(self) -> bool:
        if self._usable():
            return True
        if self.why is not None:
            return False
        if self._process != os.getpid():
            self.why = "a forked process watches nothing"
            return False
        try:
            self._uffd = open_uffd(1 | WP_HUGETLBFS_SHMEM | WP_UNPOPULATED | WP_ASYNC, user_mode_only=True)
            self._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            self._ask(0, 0)
        except OSError as error:
            old = error.errno in {errno.EINVAL, errno.ENOTTY}
            self.why = f"the kernel is too old: {os.uname().release}, needed is 6.7" if old else refusal(error)
            self._forget()
            return False
        return True

    def _forget(self) -> None:
        for descriptor in (self._uffd, self._pagemap):
            if descriptor >= 0:
                os.close(descriptor)
        self._uffd = self._pagemap = -1

    def _arm(self, pages: tuple[int, int]) -> bool:
        try:
            register(self._uffd, *pages)
            protect(self._uffd, *pages, on=True)
        except OSError:
            return False
        return True

    def _release(self, pages: tuple[int, int]) -> None:
        for start, end in minus([pages], list(self._ranges.values())):
            try:
                unregister(self._uffd, start, end)
            except OSError:
                continue  # the memory has gone, and its registration with it

    def _written(self, start: int, end: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        while start < end:
            try:
                ranges, reached = self._ask(start, end)
            except OSError:  # part of it is no longer what was watched
                return [*found, (start, end)]
            found += ranges
            if reached <= start:
                return [*found, (start, end)]
            start = reached
        return found

    def _ask(self, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
        """One PAGEMAP_SCAN: written ranges, re-protected in the same instant, and how far it got."""
        if _libc is None:
            raise OSError(errno.ENOSYS, "no PAGEMAP_SCAN")
        answer = (ctypes.c_uint64 * (3 * _ROOM))()
        # size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, anyof, return
        argument = ctypes.create_string_buffer(
            _argument.pack(
                96, _WP_MATCHING | _CHECK_WPASYNC, start, end, 0, ctypes.addressof(answer), _ROOM, 0,
                0, _PAGE_IS_WRITTEN, 0, _PAGE_IS_WRITTEN,
            ),
            96,
        )
        count = _libc.ioctl(self._pagemap, ctypes.c_ulong(_PAGEMAP_SCAN), argument)
        if count < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return [(answer[3 * i], answer[3 * i + 1]) for i in range(count)], _argument.unpack(argument.raw)[4]


def lend(start: int, end: int) -> None:
    """Every :class:`AsyncPages` of this process frees these pages for the synchronous road."""
    for pages in list(_everyone):
        pages.lend(start, end)


def take_back(start: int, end: int) -> None:
    """The synchronous road has let go of these pages."""
    for pages in list(_everyone):
        pages.take_back(start, end)
