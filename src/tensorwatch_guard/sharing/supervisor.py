"""The supervisor: a process of its own that answers the page faults of the program it watches.

It alone owns the userfaultfd, so its death frees every thread that waits. It must be a process: a thread that
answers deadlocks as soon as the writer holds the interpreter lock. Standard library only, started with ``-I
-S``.

The order of one answer is what makes a line exact. A *user* fault: ask the thread for its stack while it is
stuck, write the log, un-protect. A fault *inside a system call*: send the signal, un-protect (a signal waits
for the call to end, and comes before the next instruction of the program), wait for the stack, write the log.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import select
import signal
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorwatch_guard.sharing.kernel import MESSAGE, PAGE, UFFD_EVENT_PAGEFAULT
from tensorwatch_guard.sharing.page_log import DIRECT, HELPERS, SOME, UNTRACED, LogWriter, Record
from tensorwatch_guard.sharing.protection import Protection, Watch
from tensorwatch_guard.sharing.stacks import ASKED_AT_MOST, Asker, Tracee

if TYPE_CHECKING:
    from collections.abc import Callable

_MASTER_WITHIN: Final = 2_000_000
"""ns to wait for the Python thread whose parallel loop a native thread runs: it mostly writes there, too."""
_OTHERS_WITHIN: Final = 1_000_000_000
"""ns to wait for the stacks of threads that wait for nothing of ours, all of them together."""
_LATE_WITHIN: Final = 50_000_000
"""ns to wait for a stack after a system call's fault before others are served again."""
_LATE_AT_LAST: Final = 1_000_000_000
"""ns after which such a stack is not waited for any more."""
_WORDS: Final = 2048


class Fault(NamedTuple):
    """A thread that waits: the byte it wants to write, and when that was read."""

    address: int
    thread: int
    began: int


class Late:
    """A system call's fault whose stack has not come yet."""

    def __init__(self, tracee: Tracee, records: list[Record]) -> None:
        self.tracee = tracee
        self.records = records
        self.until = time.monotonic_ns() + _LATE_AT_LAST


class Quit(Exception):  # noqa: N818  # an order, not an error
    """The program has said to stop, or has gone."""


class Supervisor:
    """Answers faults and orders, one at a time, until the program ends or says so."""

    def __init__(self, uffd: int, orders: int, log: int, process: int, asker: Asker, late_asker: Asker) -> None:
        self._uffd = uffd
        self._orders = orders
        self._log = LogWriter(log)
        self._process = process
        self._asker = asker
        self._late_asker = late_asker
        self._late: Late | None = None
        self._protection = Protection(uffd)
        self._waiting: deque[Fault] = deque()
        self._tracees: dict[int, Tracee] = {}
        self._stack_memory = os.open(f"/proc/{process}/mem", os.O_RDONLY)
        self._verbs: dict[str, Callable[..., Any]] = {
            "watch": self._protection.add,
            "unwatch": self._protection.remove,
            "rest": self._protection.rest,
            "arm": self._protection.arm,
            "collect": self.collect,
            "rearm": self.rearm,
            "quit": self.quit,
        }
        self._faults = select.poll()
        self._faults.register(uffd, select.POLLIN)
        self._anything = select.poll()
        for descriptor in (uffd, orders, os.pidfd_open(process)):
            self._anything.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Serve until the end. Raises Quit."""
        while True:
            ready = {descriptor for descriptor, _ in self._anything.poll(1 if self._late else None)}
            self._serve_faults()
            if self._late is not None:
                self._look_for_late(self._late)
            if self._orders in ready:
                self._obey()
            elif ready - {self._uffd}:
                raise Quit

    # ---- faults

    def _read_faults(self, milliseconds: int = 0) -> list[Fault]:
        """Faults that came within the time, also put into the queue."""
        if not self._faults.poll(milliseconds):
            return []
        try:
            data = os.read(self._uffd, 32 * MESSAGE.size)
        except BlockingIOError:  # woken before it could be read
            return []
        now = time.monotonic_ns()
        messages = (MESSAGE.unpack_from(data, at) for at in range(0, len(data), MESSAGE.size))
        new = [Fault(address, thread, now) for event, _, address, thread in messages if event == UFFD_EVENT_PAGEFAULT]
        self._waiting += new
        return new

    def _serve_faults(self) -> None:
        while self._waiting or self._read_faults():
            self._serve(self._waiting.popleft())

    def _serve(self, fault: Fault) -> None:
        fired = self._protection.fired(fault.address)
        if not fired:  # a watch that ended meanwhile
            page = fault.address // PAGE * PAGE
            self._protection.free(page, page + PAGE)
            return
        self._log.begin(len(fired))
        tracee = self._tracee(fault.thread)
        where = tracee.where()
        words = self._words(where.sp)
        records = [
            Record(w.serial, fault.address, fault.thread, where.kernel, fault.began, 0, where.pc, words,
            UNTRACED, ()) for w in fired
        ]
        if where.kernel:
            self._answer_system_call(tracee, where.call, fired, records)
        else:
            how, stacks = self._ask(tracee, fired)
            self._log.write([record._replace(how=how, stacks=stacks) for record in records])
            self._open(fired)

    def _answer_system_call(
        self, tracee: Tracee, call: tuple[int, ...], fired: list[Watch], records: list[Record]
    ) -> None:
        if self._late is not None:
            self._await_late()
        asked = self._late is None and tracee.may_be_signalled_in(call) and self._late_asker.ask(tracee)
        self._open(fired)
        if not asked:
            self._log.write(records)
            return
        self._late = Late(tracee, records)
        self._await_late()

    def _await_late(self) -> None:
        """Give a stack some time to come; others wait meanwhile, so not for ever."""
        end = time.monotonic_ns() + _LATE_WITHIN
        while self._late is not None and not self._late_asker.answered(self._late.tracee):
            if time.monotonic_ns() > end:
                return
            time.sleep(0.00005)
        self._finish_late()

    def _look_for_late(self, late: Late) -> None:
        if self._late_asker.answered(late.tracee):
            self._finish_late()
        elif time.monotonic_ns() > late.until:
            self._late_asker.give_up(late.tracee)
            self._late = None
            self._log.write(late.records)

    def _finish_late(self) -> None:
        late, self._late = self._late, None
        if late is None:
            return
        stack = self._late_asker.stack()
        if stack:
            late.records = [r._replace(how=DIRECT, stacks=((r.thread, stack),)) for r in late.records]
        self._log.write(late.records)

    # ---- who it was

    def _tracee(self, thread: int) -> Tracee:
        tracee = self._tracees.get(thread)
        if tracee is None or not tracee.alive():
            if len(self._tracees) > 2 * ASKED_AT_MOST:  # each has up to three files open
                self._tracees.clear()
            tracee = self._tracees[thread] = Tracee(self._process, thread)
        return tracee

    def _words(self, sp: int) -> bytes:
        try:
            return os.pread(self._stack_memory, _WORDS, sp) if sp else b""
        except OSError:
            return b""

    def _ask(self, tracee: Tracee, fired: list[Watch]) -> tuple[str, tuple[tuple[int, str], ...]]:
        """The Python stack of the thread that waits; of those that may have sent it where it is a native one."""
        if not self._asker.ask(tracee):
            return UNTRACED, ()
        stack = self._asker.wait(tracee, self._until_a_fault)
        if stack:
            return DIRECT, ((tracee.thread, stack),)
        if stack is None:
            return UNTRACED, ()
        if tracee.thread == self._process:  # Python's first thread has a stack: the handler is no longer ours
            self._asker.usable = self._late_asker.usable = False
            return UNTRACED, ()
        tracee.native = True
        return self._master(fired) or self._everybody()

    def _until_a_fault(self) -> None:
        """A thread whose handler has returned repeats its write at once: the quickest sign of it."""
        self._read_faults(1)

    def _a_moment(self) -> None:
        self._read_faults()
        time.sleep(0.00005)

    def _master(self, fired: list[Watch]) -> tuple[str, tuple[tuple[int, str], ...]] | None:
        """A Python thread that faults in the same memory at the same time as its native helper."""
        end = time.monotonic_ns() + _MASTER_WITHIN
        asked: set[int] = set()
        while True:
            for fault in list(self._waiting):
                if fault.thread in asked or not any(w.holds(fault.address) for w in fired):
                    continue
                asked.add(fault.thread)
                tracee = self._tracee(fault.thread)
                if tracee.native or tracee.where().kernel or not self._asker.ask(tracee):
                    continue
                stack = self._asker.wait(tracee, self._until_a_fault)
                if stack:
                    return DIRECT, ((fault.thread, stack),)
                tracee.native = stack == ""
            if time.monotonic_ns() > end:
                return None
            self._read_faults(1)

    def _everybody(self) -> tuple[str, tuple[tuple[int, str], ...]]:
        """The stacks of all Python threads, each asked by itself: walking another thread's frames could crash it."""
        stacks = []
        threads = sorted(map(int, os.listdir(f"/proc/{self._process}/task")), key=self._process.__ne__)
        complete = len(threads) <= ASKED_AT_MOST
        end = time.monotonic_ns() + _OTHERS_WITHIN
        for thread in threads[:ASKED_AT_MOST]:
            tracee = self._tracee(thread)
            if tracee.native:
                continue
            asked = self._asker.ask(tracee)
            stack = self._asker.wait(tracee, self._a_moment, end - time.monotonic_ns()) if asked else None
            tracee.native = stack == ""
            complete = complete and stack is not None
            if stack:
                stacks.append((thread, stack))
        return HELPERS if complete else SOME, tuple(stacks)

    def _open(self, fired: list[Watch]) -> None:
        for start, end in self._protection.open(fired):
            # their threads have just been woken: told of once more, they would be asked on another line
            self._waiting = deque(fault for fault in self._waiting if not start <= fault.address < end)

    # ---- orders

    def _obey(self) -> None:
        while True:
            try:
                order = os.read(self._orders, 65536)
            except BlockingIOError:
                return
            except OSError as gone:
                raise Quit from gone
            if not order:
                raise Quit
            number, verb, *arguments = marshal.loads(order)  # noqa: S302  # from the program we belong to
            self._serve_faults()
            try:
                answer = (number, True, self._verbs[verb](*arguments))
            except OSError as error:
                answer = (number, False, error.strerror or str(error))
            if number:
                self.reply(answer)
            if verb == "quit":
                raise Quit

    def reply(self, answer: tuple[int, bool, Any]) -> None:
        """Send an answer; the program may have stopped listening, which is its right."""
        with contextlib.suppress(BlockingIOError):
            try:
                os.write(self._orders, marshal.dumps(answer))
            except BrokenPipeError as gone:
                raise Quit from gone

    def collect(self, read_to: int) -> tuple[int, int]:
        """Everything that came before is in the log; watch again. Where the program reads on, and to what end."""
        self._protection.arm_all(resting=False)
        return (read_to, self._log.end) if self._late is not None else self._log.read_to(read_to)

    def rearm(self) -> None:
        """Watch everything again, and let nothing rest."""
        self._protection.wake_all()
        self._protection.arm_all(resting=True)

    def quit(self) -> None:
        """Free all memory before the answer goes out, so that nobody is asked for a stack after it."""
        self._protection.clear()


def _settle(keep: list[int]) -> None:
    """Become nobody's: no terminal, no working folder, no descriptors but ours, no signal but SIGTERM."""
    with contextlib.suppress(OSError):
        os.setsid()
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {signal.SIGTERM})
    edges = [2, *sorted(keep), os.sysconf("SC_OPEN_MAX")]
    for low, high in zip(edges, edges[1:]):  # noqa: B905, RUF007  # zip(strict=) says nothing here
        os.closerange(low + 1, high)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="utf-8") as name:
        name.write("twg-pages")
    gc.disable()


def main(arguments: list[str]) -> None:
    """Run as a process's supervisor. ``arguments``: descriptors, process, signals, names, perhaps --detach."""
    if "--detach" in arguments and os.fork():
        os._exit(0)
    uffd, orders, log, stack, late_stack, process, stack_signal, late_signal = map(int, arguments[:8])
    _settle([uffd, orders, log, stack, late_stack])
    try:
        asker = Asker(process, stack_signal, stack, arguments[8], int(arguments[10]))
        late_asker = Asker(process, late_signal, late_stack, arguments[9], int(arguments[11]))
        supervisor = Supervisor(uffd, orders, log, process, asker, late_asker)
        Tracee(process, process).check()
    except OSError as error:
        os.write(orders, marshal.dumps((0, False, f"the supervisor may not look at this process: {error.strerror}")))
        return
    supervisor.reply((0, True, os.getpid()))
    with contextlib.suppress(Quit):
        supervisor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
