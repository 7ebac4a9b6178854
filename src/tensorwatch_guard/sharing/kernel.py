"""What the Linux kernel offers for watching writes: userfaultfd and PAGEMAP_SCAN, through ctypes and ioctl.

Two ways, both without compiled code. *Synchronous*: a write to a protected page stops its thread until somebody
answers (:mod:`.pages` and its supervisor). *Asynchronous*: the kernel itself lets the write pass and remembers
the page; one scan tells which pages were written (:mod:`.written`). Every probe says in words why a way is
closed.

Sources: ioctl_userfaultfd(2), userfaultfd(2), PAGEMAP_SCAN(2const), include/uapi/linux/userfaultfd.h and fs.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import struct
import sys
from typing import Final

with contextlib.suppress(ImportError):  # Windows: every road is closed there, but this room must be importable
    import fcntl

PAGE: Final = mmap.PAGESIZE
MACHINE: Final = os.uname().machine if hasattr(os, "uname") else ""

# System calls by machine; the road is closed on others.
USERFAULTFD: Final = {"x86_64": 323, "aarch64": 282}
TGKILL: Final = {"x86_64": 234, "aarch64": 131}

READS: Final[dict[str, frozenset[int]]] = {"x86_64": frozenset({0, 17, 19, 295}), "aarch64": frozenset({63, 67,
65, 69})}
"""read, pread64, readv, preadv."""
RECEIVES: Final[dict[str, dict[int, int]]] = {"x86_64": {45: 3, 47: 2}, "aarch64": {207: 3, 212: 2}}
"""recvfrom and recvmsg, and which of their arguments holds the flags."""

UFFDIO_API: Final = 0xC018AA3F
UFFDIO_REGISTER: Final = 0xC020AA00
UFFDIO_UNREGISTER: Final = 0x8010AA01
UFFDIO_WRITEPROTECT: Final = 0xC018AA06
USERFAULTFD_IOC_NEW: Final = 0xAA00
UFFD_API: Final = 0xAA
REGISTER_WP: Final = 2
UFFD_USER_MODE_ONLY: Final = 1
UFFD_EVENT_PAGEFAULT: Final = 0x12
MESSAGE: Final = struct.Struct("=B7xQQI4x")
"""A page fault as read from the descriptor: event, flags, address, thread id."""

FEATURES: Final = {
    "write-protect faults": 1 << 0,
    "thread ids": 1 << 8,
    "exact addresses": 1 << 11,
    "write-protected untouched pages": 1 << 13,
}
"""What the synchronous road needs; the last one came with Linux 6.4."""
WP_HUGETLBFS_SHMEM: Final = 1 << 12
WP_UNPOPULATED: Final = 1 << 13
WP_ASYNC: Final = 1 << 15

_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def edges(address: int, nbytes: int) -> tuple[tuple[int, int] | None, list[tuple[int, int]]]:
    """Split ``nbytes`` bytes at ``address`` into whole pages and the pieces in front of and behind them.

    Returns:
        ``((start, length), pieces)``, or ``(None, [(address, nbytes)])`` where there is no whole page. Only
        whole pages can be watched without meeting a stranger: the pages at the edges hold malloc's headers and
        other people's objects.
    """
    end = address + nbytes
    first = -(-address // PAGE) * PAGE
    last = end // PAGE * PAGE
    if last <= first:
        return None, [(address, nbytes)] if nbytes > 0 else []
    return (first, last - first), [piece for piece in ((address, first - address), (last, end - last)) if piece[1]]


def outer_pages(address: int, nbytes: int) -> tuple[int, int]:
    """``(start, end)`` of all pages that hold a byte of the region."""
    return address // PAGE * PAGE, -(-(address + nbytes) // PAGE) * PAGE


def minus(ranges: list[tuple[int, int]], holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """``(start, end)`` ranges without the parts that lie in ``holes``."""
    for low, high in holes:
        kept = []
        for start, end in ranges:
            if end <= low or high <= start:
                kept.append((start, end))
                continue
            kept += [part for part in ((start, low), (high, end)) if part[0] < part[1]]
        ranges = kept
    return ranges


def merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes as disjoint ``(start, end)`` ranges in order."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def register(uffd: int, start: int, end: int) -> None:
    """Put ``[start, end)`` under the descriptor. OSError where memory is of another kind (EINVAL) or taken (EBUSY)."""
    fcntl.ioctl(uffd, UFFDIO_REGISTER, bytearray(struct.pack("QQQQ", start, end - start, REGISTER_WP, 0)))


def unregister(uffd: int, start: int, end: int) -> None:
    """Let go of ``[start, end)``; threads that wait for it continue."""
    fcntl.ioctl(uffd, UFFDIO_UNREGISTER, struct.pack("QQ", start, end - start))


def protect(uffd: int, start: int, end: int, on: bool) -> None:
    """Protect ``[start, end)`` against writing, or free it and wake the threads that wait for it."""
    argument = bytearray(struct.pack("QQQ", start, end - start, int(on)))
    while True:
        try:
            fcntl.ioctl(uffd, UFFDIO_WRITEPROTECT, argument)
        except BlockingIOError:  # the address space is changing (a fork, say): the manual says to try again
            continue
        return


def _system_call(flags: int) -> int:
    if _libc is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    descriptor = int(_libc.syscall(USERFAULTFD[MACHINE], flags))
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor


def _from_device(flags: int) -> int:
    device = os.open("/dev/userfaultfd", os.O_RDWR | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(device, USERFAULTFD_IOC_NEW, flags)
    finally:
        os.close(device)


def _with_features(descriptor: int, features: int) -> int:
    try:
        fcntl.ioctl(descriptor, UFFDIO_API, bytearray(struct.pack("QQQ", UFFD_API, features, 0)))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_uffd(features: int, *, user_mode_only: bool = False) -> int:
    """A new userfaultfd with ``features``, close-on-exec and non-blocking.

    Args:
        features: UFFD_FEATURE bits.
        user_mode_only: only for the asynchronous way. A synchronous descriptor that cannot answer for the
        kernel makes
            ``readinto`` fail with EFAULT.
    """
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = _system_call(flags | (UFFD_USER_MODE_ONLY if user_mode_only else 0))
    except PermissionError:
        if user_mode_only:
            raise
        try:
            descriptor = _from_device(flags)
        except OSError as refused:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from refused
    return _with_features(descriptor, features)


def process_status(text: str, name: str) -> str:
    """One value out of the text of ``/proc/PID/status``; empty where the kernel does not tell it."""
    for line in text.splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    return ""


def refusal(error: OSError) -> str:
    """Why userfaultfd was refused, in words a person can act on."""
    if error.errno == errno.ENOSYS:
        return "this kernel (or sandbox) has no userfaultfd"
    if error.errno == errno.EINVAL:
        return f"the kernel is too old: {os.uname().release}, needed is 6.4"
    if error.errno == errno.EPERM:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            status = file.read()
        ptrace = int(process_status(status, "CapEff") or "0", 16) >> 19 & 1
        if ptrace and process_status(status, "Seccomp") == "2":
            return "a seccomp filter forbids userfaultfd (a container's default profile does)"
        return "needs root, CAP_SYS_PTRACE, access to /dev/userfaultfd, or sysctl vm.unprivileged_userfaultfd=1"
    return f"userfaultfd: {error.strerror}"


def platform_refusal() -> str | None:
    """Why neither way can work on this machine at all, or None."""
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if MACHINE not in USERFAULTFD:
        return f"not known for {MACHINE}"
    return None


def open_synchronous() -> int:
    """The descriptor of the synchronous road: writes by the kernel itself (``readinto``) are answered, too."""
    return open_uffd(sum(FEATURES.values()) | WP_HUGETLBFS_SHMEM)


def synchronous_refusal() -> str | None:
    """Why the synchronous road is closed, or None where it is open."""
    closed = platform_refusal()
    if closed is not None:
        return closed
    try:
        os.close(open_synchronous())
    except OSError as error:
        return refusal(error)
    return None


def handler_of(signal_number: int) -> int:
    """Address of the C handler of a signal in this process: 0 default, 1 ignored."""
    if _libc is None:
        return 1
    action = ctypes.create_string_buffer(512)  # struct sigaction is 152 bytes on glibc; its first field is the handler
    if _libc.sigaction(signal_number, None, action) != 0:
        return 1
    return int.from_bytes(action.raw[: ctypes.sizeof(ctypes.c_void_p)], sys.byteorder)


def send_to_thread(process: int, thread: int, signal_number: int) -> bool:
    """Send a signal to one thread of another process; False where it is gone."""
    return _libc is not None and _libc.syscall(TGKILL[MACHINE], process, thread, signal_number) == 0
