"""The program's end of the supervisor: starts it, speaks with it, and reads its log.

Orders are marshalled tuples over a socket pair that keeps their borders. Sending one never waits for an answer
and never raises SIGPIPE; an answer is waited for with a limit, and a supervisor that does not answer is killed:
the kernel then lets every waiting thread go on.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import marshal
import os
import select
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final

with contextlib.suppress(ImportError):  # Windows, where the road is closed
    import fcntl

from . import page_log
from .descriptors import Owned, high, mapped, standard_streams_left_free
from .detached import start_detached
from .kernel import handler_of, open_synchronous, process_status

_PREFERRED: Final = 5
_ANSWER_WITHIN: Final = 5.0
_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "PATH")
_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from tensorwatch_guard.sharing.supervisor import main; main(sys.argv[2:])"
)


class Unanswered(Exception):  # noqa: N818  # a state of the other side; the message says which
    """The supervisor did not answer, or is no longer there."""


def interpreter_refusal() -> str | None:
    """Why no supervisor could be started from this process, or None."""
    if not sys.executable or not os.access(sys.executable, os.X_OK):
        return "there is no Python executable to start the supervisor with"
    if not os.path.isfile(__file__):
        return "this package does not lie in plain files"
    if not hasattr(os, "pidfd_open"):
        return "this Python was built without pidfd_open"
    return None


def free_signals() -> tuple[int, int] | None:
    """Two real-time signals without a handler: SIGRTMIN+5 and +6, or the first ones above; None if there are none."""
    first = signal.SIGRTMIN + _PREFERRED
    free = [number for number in range(first, signal.SIGRTMAX + 1) if handler_of(number) == 0]
    return (free[0], free[1]) if len(free) >= 2 else None


class _StackFile:
    """Where a signal's handler writes the Python stack of the thread it runs in.

    A memory file in append mode: a write to it never blocks and never raises SIGPIPE, whoever reads.
    """

    def __init__(self, signal_number: int) -> None:
        self.signal = signal_number
        self.file = Owned(os.memfd_create(f"twg-stack-{os.getpid()}-{signal_number}", os.MFD_CLOEXEC))
        fcntl.fcntl(self.file.number, fcntl.F_SETFL, os.O_APPEND)
        self.name = os.readlink(f"/proc/self/fd/{self.file.number}")
        faulthandler.register(signal_number, file=self.file.number, all_threads=False, chain=False)
        self._handler = handler_of(signal_number)

    def close(self) -> None:
        """Put the signal back, unless it is under way (it would end the program) or somebody else's by now."""
        if handler_of(self.signal) == self._handler and not _pending(self.signal):
            faulthandler.unregister(self.signal)
            self.file.close()


def _pending(signal_number: int) -> bool:
    bit = 1 << (signal_number - 1)
    for task in os.listdir("/proc/self/task"):
        try:
            status = Path(f"/proc/self/task/{task}/status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended
        if any(int(process_status(status, name) or "0", 16) & bit for name in ("SigPnd", "ShdPnd")):
            return True
    return False


class Supervised:
    """A running supervisor. Raises OSError or :class:`Unanswered` where it cannot be started."""

    def __init__(self) -> None:
        signals = free_signals()
        if signals is None:
            raise Unanswered("no two real-time signals are free")
        self._numbers = itertools.count(1)
        self._expected: set[int] = {0}
        self._answers: dict[int, tuple[bool, Any]] = {}
        self._unsent: deque[bytes] = deque()
        self.process = 0
        self._handle: Owned | None = None
        with standard_streams_left_free():
            self._log = Owned(os.memfd_create(f"twg-log-{os.getpid()}", os.MFD_CLOEXEC))
            os.ftruncate(self._log.number, page_log.ROOM)
            memory = mapped(self._log.number, page_log.HEADER)
            self._counters = memory.cast("Q")
            self.begun_view = memory[8 * page_log.BEGUN : 8 * page_log.BEGUN + 8]
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._end = Owned(ours.detach())
            self._socket = socket.socket(fileno=self._end.number)
            self._socket.setblocking(False)
            self._readable = select.poll()
            self._readable.register(self._end.number, select.POLLIN)
            self._stacks = [_StackFile(number) for number in signals]
            try:
                self._start(high(theirs.detach()))
                self.process = self._await(0)
                self._handle = Owned(os.pidfd_open(self.process))
            except (OSError, Unanswered):
                self.close(orderly=False)
                raise

    def _start(self, theirs: int) -> None:
        uffd = -1
        try:
            os.set_blocking(theirs, False)
            uffd = high(open_synchronous())
            files = [uffd, theirs, self._log.number, *(stack.file.number for stack in self._stacks)]
            given = [*files, os.getpid(), *(stack.signal for stack in self._stacks)]
            names = [*(stack.name for stack in self._stacks), *(str(stack.file.number) for stack in self._stacks)]
            root = str(Path(__file__).resolve().parents[2])
            environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            start_detached(
                [sys.executable, "-I", "-S", "-c", _BOOT, root, *map(str, given), *names], environment, files
            )
        finally:  # the supervisor must be the only owner: then its death frees every thread that waits
            for descriptor in (uffd, theirs):
                if descriptor >= 0:
                    os.close(descriptor)

    # ---- the log

    @property
    def begun(self) -> int:
        """Faults that have come so far."""
        return self._counters[page_log.BEGUN]

    @property
    def written(self) -> int:
        """Faults that are in the log."""
        return self._counters[page_log.WRITTEN]

    @property
    def lost(self) -> int:
        """Faults the log had no room for."""
        return self._counters[page_log.LOST]

    def read(self, start: int, end: int) -> bytes:
        """A stretch of the log; nothing once it is closed."""
        if not self._log.still_ours():
            return b""
        return os.pread(self._log.number, end - start, start)

    # ---- orders

    def alive(self) -> bool:
        """False once its end of the socket has closed, or the program has closed ours."""
        closed = select.POLLHUP | select.POLLERR
        return self._end.still_ours() and not any(event & closed for _, event in self._readable.poll(0))

    def tell(self, verb: str, *arguments: int) -> None:
        """An order without an answer. Never waits: what cannot go now goes with the next one."""
        self._unsent.append(marshal.dumps((0, verb, *arguments)))
        self._flush()

    def request(self, verb: str, *arguments: int) -> Any:
        """An order and its answer. The caller holds the follower's lock, which the same thread may hold twice.

        Raises:
            OSError: the supervisor could not do it.
            Unanswered: it is no longer there.
        """
        number = next(self._numbers)
        self._expected.add(number)
        try:
            self._unsent.append(marshal.dumps((number, verb, *arguments)))
            while not self._flush():
                self._wait(select.POLLOUT)
            return self._await(number)
        finally:
            self._expected.discard(number)
            self._answers.pop(number, None)

    def _flush(self) -> bool:
        """Send what waits, in order. False where the socket is full."""
        if self._unsent and not self._end.still_ours():
            self._unsent.clear()
        while self._unsent:
            try:
                order = self._unsent.popleft()
            except IndexError:  # another thread sent it
                return True
            try:
                self._socket.send(order, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._unsent.appendleft(order)
                return False
            except OSError:
                return True  # nobody listens: whoever asks for an answer will find out
        return True

    def _wait(self, what: int) -> None:
        poll = select.poll()
        poll.register(self._socket, what)
        if not poll.poll(_ANSWER_WITHIN * 1000):
            self._kill()
            raise Unanswered(f"the supervisor did not answer within {_ANSWER_WITHIN:.0f} s")

    def _await(self, number: int) -> Any:
        while number not in self._answers:
            if not self._end.still_ours():
                raise Unanswered("the program has closed the connection to the supervisor")
            self._wait(select.POLLIN)
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                raise Unanswered("the supervisor has ended")
            answered, fine, value = marshal.loads(data)  # noqa: S302  # from our own supervisor
            if answered in self._expected:
                self._answers[answered] = fine, value
        fine, value = self._answers[number]
        if not fine:
            raise OSError(value)
        return value

    # ---- the end

    def _kill(self) -> None:
        """End a supervisor that hangs; by a handle, since a process number may be somebody else's by now."""
        if self._handle is not None and self._handle.still_ours():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._handle.number, signal.SIGKILL)

    def close(self, *, orderly: bool = True) -> None:
        """Stop the supervisor, then give the signals back."""
        if orderly:
            with contextlib.suppress(OSError, Unanswered):
                self.request("quit")
        self._kill()
        self.leave()

    def leave(self) -> None:
        """Let go of everything here and tell nobody: the end of :meth:`close`, and all a forked child does."""
        self._socket.detach()  # not closed by its object: the number may be the program's by now
        for stack in self._stacks:
            stack.close()
        for descriptor in (self._end, self._log, self._handle):
            if descriptor is not None:
                descriptor.close()
