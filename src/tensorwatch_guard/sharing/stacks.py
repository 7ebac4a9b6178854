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

from tensorwatch_guard.sharing.kernel import MACHINE, READS, RECEIVES, send_to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED_AT_MOST: Final = 64
_MSG_WAITALL: Final = 0x100
_ANSWER_WITHIN: Final = 1_000_000_000
_SILENT_FOR: Final = 2_000_000
"""ns of processor time without a word after which a thread has no Python stack: a handler would have written."""


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

    def asleep(self) -> bool:
        """Whether it waits in the kernel, also for a page; True if it has ended."""
        try:
            return self._read("syscall") != b"running\n"
        except OSError:
            return True

    def processor_time(self) -> int:
        """Ns it has run; 0 where the kernel does not count."""
        try:
            return int(self._read("schedstat").split()[0])
        except (OSError, IndexError):
            return 0

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
        if call[0] in READS[MACHINE]:
            try:
                mode = os.stat(f"/proc/{self.process}/fd/{call[1]}").st_mode
            except OSError:
                return False
            return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        flags = RECEIVES[MACHINE].get(call[0])
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
        self._ran: int | None = None

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
        self._ran = None
        return send_to_thread(self._process, tracee.thread, self._signal)

    def answered(self, tracee: Tracee) -> bool:
        """Whether the answer is complete: the thread's handler has returned, or the thread has ended.

        Between taking a signal and entering its handler a thread shows neither, and may be kept waiting there. So
        without a word written it must be seen asleep again, or have run for long enough: Python does not know it.
        """
        if not self._quiet(tracee):
            return False
        if os.fstat(self._file).st_size:
            return self._quiet(tracee)
        if tracee.asleep():
            return self._quiet(tracee)
        ran = tracee.processor_time()
        if self._ran is None:
            self._ran = ran
        return ran > self._ran + _SILENT_FOR

    def _quiet(self, tracee: Tracee) -> bool:
        signals = tracee.signals()
        return signals is None or not (signals.pending | signals.blocked) & self._bit

    def stack(self) -> str:
        """What the last answer was; empty for a thread that Python does not know."""
        return os.pread(self._file, 1 << 20, 0).decode("ascii", "replace")

    def give_up(self, tracee: Tracee) -> None:
        """Ask nobody until that thread's answer can no longer come: it would be taken for somebody else's."""
        self._owing = tracee

    def wait(self, tracee: Tracee, meanwhile: Callable[[], object], within: int = _ANSWER_WITHIN) -> str | None:
        """The answer of a thread, None where it did not come in so many ns. ``meanwhile`` is called between looks."""
        end = time.monotonic_ns() + within
        while True:
            meanwhile()
            if self.answered(tracee):
                return self.stack()
            if time.monotonic_ns() > end:
                self.give_up(tracee)
                return None
