"""How the supervisor asks a thread of another process for its Python stack.

``faulthandler`` has a handler in the program that writes the stack of the thread it runs in; the supervisor
signals that one thread. Before a signal goes out, the thread must be able to take it (not blocked, the handler
still in place, the file it writes to still ours), else it could end the program or write into somebody's file.
Afterwards the answer is complete when the signal is neither pending nor blocked: the handler has returned.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorwatch_guard.sharing.kernel import READS, RECEIVES, send_to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED_AT_MOST: Final = 64
_MSG_WAITALL: Final = 0x100
_MACHINE: Final = os.uname().machine if hasattr(os, "uname") else ""
_ANSWER_WITHIN: Final = 1_000_000_000


class Where(NamedTuple):
    """Where a thread waits: stack pointer and instruction, and in which system call (its number and arguments)."""

    kernel: bool
    sp: int
    pc: int
    call: tuple[int, ...] = ()


class Signals(NamedTuple):
    """Signal masks of a thread as the kernel has them, bit ``number - 1``."""

    pending: int
    blocked: int
    caught: int


class Tracee:
    """One thread of the program. Keeps its files open: cheaper, and they never come to mean another thread."""

    def __init__(self, process: int, thread: int) -> None:
        self.process = process
        self.thread = thread
        self.native = False
        self._files: dict[str, int] = {}

    def __del__(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)

    def _read(self, name: str) -> bytes:
        descriptor = self._files.get(name)
        if descriptor is None:
            descriptor = self._files[name] = os.open(f"/proc/{self.process}/task/{self.thread}/{name}", os.O_RDONLY)
        return os.pread(descriptor, 4096, 0)

    def check(self) -> None:
        """Raises OSError where this process may not look at that one (Yama's ptrace_scope, other capabilities)."""
        self._read("syscall")
        self._read("status")

    def alive(self) -> bool:
        try:
            return bool(self._read("syscall"))
        except OSError:
            return False

    def where(self) -> Where:
        """Where it waits. A thread that is just going to sleep shows as running for some microseconds."""
        end = time.monotonic_ns() + 20_000_000
        while True:
            try:
                words = self._read("syscall").split()
            except OSError:  # a writer that is no thread of ours: a kernel worker, another process
                return Where(kernel=True, sp=0, pc=0)
            if len(words) >= 3:
                call = (int(words[0]), *(int(word, 16) for word in words[1:-2]))
                return Where(call[0] >= 0, int(words[-2], 16), int(words[-1], 16), call)
            if time.monotonic_ns() > end:
                return Where(kernel=False, sp=0, pc=0)

    def may_be_signalled_in(self, call: tuple[int, ...]) -> bool:
        """Whether a system call gives the same result with a signal waiting.

        Reading files, pipes and sockets does. A read of ``/dev/urandom`` would end early, ``MSG_WAITALL`` would
        not wait for all, and of other calls nobody knows.
        """
        if len(call) < 7:
            return False
        if call[0] in READS[_MACHINE]:
            try:
                mode = os.stat(f"/proc/{self.process}/fd/{call[1]}").st_mode
            except OSError:
                return False
            return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        flags = RECEIVES[_MACHINE].get(call[0])
        return flags is not None and not call[1 + flags] & _MSG_WAITALL

    def signals(self) -> Signals | None:
        """None where the thread has ended."""
        try:
            status = self._read("status")
        except OSError:
            return None
        return Signals(*(_mask(status, name) for name in (b"SigPnd:", b"SigBlk:", b"SigCgt:")))


def _mask(status: bytes, name: bytes) -> int:
    at = status.find(name)
    return int(status[at + len(name) : status.index(b"\n", at)], 16) if at >= 0 else 0


class Asker:
    """One signal, and the file its handler in the program writes stacks into."""

    def __init__(self, process: int, signal_number: int, file: int, name: str, number_there: int) -> None:
        self.usable = True
        self._process = process
        self._signal = signal_number
        self._bit = 1 << (signal_number - 1)
        self._file = file
        self._name = name
        self._link = f"/proc/{process}/fd/{number_there}"
        self._owing: Tracee | None = None

    def ask(self, tracee: Tracee) -> bool:
        """Send the signal to a thread that can take it; False where it cannot."""
        if self._owing is not None and not self.answered(self._owing):  # its late answer would be taken for this one's
            return False
        self._owing = None
        signals = tracee.signals() if self.usable else None
        if signals is None or (signals.pending | signals.blocked) & self._bit or not signals.caught & self._bit:
            return False
        try:
            if os.readlink(self._link) != self._name:  # the program has closed it, and perhaps opened another
                return False
        except OSError:
            return False
        os.ftruncate(self._file, 0)
        return send_to_thread(self._process, tracee.thread, self._signal)

    def answered(self, tracee: Tracee) -> bool:
        """Whether the thread's handler has returned (or the thread has ended)."""
        signals = tracee.signals()
        return signals is None or not (signals.pending | signals.blocked) & self._bit

    def stack(self) -> str:
        """What the last answer was; empty for a thread that Python does not know."""
        return os.pread(self._file, 1 << 20, 0).decode("ascii", "replace")

    def wait(self, tracee: Tracee, comes_back: Callable[[int], set[int]]) -> str | None:
        """The answer of a thread, None where it did not come in time.

        Args:
            tracee: the thread that was asked.
            comes_back: waits for faults for so many milliseconds and names the threads that had one: a thread
            whose handler
                has returned repeats its write at once, which is the quickest sign of it.
        """
        end = time.monotonic_ns() + _ANSWER_WITHIN
        while True:
            comes_back(1)
            if self.answered(tracee):
                return self.stack()
            if time.monotonic_ns() > end:
                self._owing = tracee
                return None
