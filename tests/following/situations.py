"""One situation a run, named on the command line: a function of this file. Each tells what the follower saw."""

# ruff: noqa: ANN001, ANN002, ANN003, E702, N818

from __future__ import annotations

import bdb
import ctypes
import gc
import os
import signal
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from watching import as_dict, library, tell, user, watch

from tensorwatch_guard.sharing import lines


class Noticed(Exception):
    """Raised by a signal handler of the user's."""


def here():
    return sys._getframe(1).f_lineno


def within_the_package(source):
    """A function of the guard's own, as far as its file name tells."""
    return user(source, os.path.join(os.path.dirname(lines.__file__), "pretended.py"))


def told(follower, **facts):
    tell(
        writes=[as_dict(write) for write in follower.collect()],
        why=follower.why,
        errors=follower.errors,
        **facts,
    )


def columns():
    a = np.zeros(16)
    follower = lines.make()
    watch(follower, 1, a)

    def body():
        b = 1; a[0] += 1; c = 2; a[1] += 1; return b + c  # fmt: skip

    body()
    body()
    told(follower)


def columns_of_a_loop_that_goes_on():
    a = np.zeros(16)
    follower = lines.make()
    watch(follower, 1, a)
    for i in range(3):
        a[i] = 1; a[i + 4] = 1  # fmt: skip
    told(follower)


def region():
    a = np.zeros(16, np.int32)
    follower = lines.make()
    address = a.ctypes.data
    hold = weakref.ref(a)
    pieces = [
        follower.watch(1, address, 16, hold, 0, 4),
        follower.watch(1, address + 48, 16, hold, 48, 4),
    ]
    a[1:3] = 7
    a[8] = 9
    a[13] = 5
    writes = follower.collect()
    tell(pieces=pieces, values=[[w.first, w.last, w.before.hex(), w.after.hex()] for w in writes])


def many_writes_of_a_line():
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    for _ in range(50):
        a[0] += 1
    line = here() - 1
    more = {
        f"{key} {os.path.basename(file)} {number - line}": n
        for (key, file, number), n in follower.more.items()
    }
    told(follower, more=more, line=line)


def owner_dies():
    a = np.zeros(4)
    b = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    watch(follower, 2, b)
    a[0] = 1
    del a
    both = follower.running
    b[0] = 1
    del b
    told(follower, both=both, running=follower.running, tracing=sys.gettrace() is not None)


def owner_has_moved():
    a = np.zeros(4)
    where = [a]
    follower = lines.make()
    follower.watch(1, a.ctypes.data, a.nbytes, lambda: where[0])
    where[0] = None
    a[0] = 1
    a[1] = 1
    told(follower, again=follower.watch(1, a.ctypes.data, a.nbytes, lambda: where[0]))


def ends_and_begins_again():
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    a[0] = 1
    first = here() - 1
    follower.unwatch(1)
    a[0] = 2
    watch(follower, 1, a)
    a[0] = 3
    second = here() - 1
    follower.stop()
    a[0] = 4
    told(follower, expected=[first, second], running=follower.running)


def a_second_follower():
    a = np.zeros(4)
    one, other = lines.make(), lines.make()
    started = [watch(one, 1, a), watch(other, 1, a)]
    why = other.why
    one.stop()
    started.append(watch(other, 1, a))
    a[0] = 1
    told(other, started=started, why_not=why)


def more_evidence():
    a = np.zeros(4)
    log = bytearray(8)
    asked = []
    follower = lines.make()
    watch(follower, 1, a)
    put = follower.put(0, memoryview(log))
    follower.also = lambda: asked.append(len(follower._seen.kept))
    log[0] = 1
    before = list(asked)
    a[0] = 1
    writes = [as_dict(write) for write in follower.collect()]
    follower.unwatch(1)
    tell(writes=writes, put=put, asked=len(asked), when_log_changed=before, running=follower.running)


def trace_function_held():
    a = np.zeros(4)
    held = lambda frame, event, arg: None  # noqa: E731
    sys.settrace(held)
    follower = lines.make()
    started = watch(follower, 1, a)
    kept = sys.gettrace() is held
    sys.settrace(None)
    a[0] = 1
    told(follower, started=started, kept=kept)


def coverage_runs():
    import coverage

    a = np.zeros(4)

    def write():
        a[0] = 1

    line = write.__code__.co_firstlineno + 1
    measured = coverage.Coverage(data_file=None, config_file=False, include=[os.path.abspath(__file__)])
    measured.start()
    tracer = type(sys.gettrace()).__name__
    follower = lines.make()
    started = watch(follower, 1, a)
    write()
    writes = [as_dict(write) for write in follower.collect()]
    follower.stop()
    kept = type(sys.gettrace()).__name__ == tracer
    measured.stop()
    counted = line in measured.get_data().lines(os.path.abspath(__file__))
    tell(started=started, why=follower.why, writes=writes, line=line, counted=counted, kept=kept)


def debugger_after_columns():
    """Single instructions are followed only in a line that was to blame: bdb complains of every such event."""
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    for _ in range(2):
        a[0] += 1
        b = 1
    debugger = bdb.Bdb()
    debugger.set_trace()
    b += 1
    debugger.set_continue()
    told(follower)


def debugger_comes_later():
    class Debugger(bdb.Bdb):
        seen = 0

        def user_line(self, frame):
            self.seen += 1

    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    a[0] = 1
    debugger = Debugger()
    debugger.set_trace()
    a[0] = 2
    a[0] = 3
    seen, stolen = debugger.seen, follower.stolen
    writes = [as_dict(write) for write in follower.collect()]
    follower.stop()
    kept = sys.gettrace() is not None
    debugger.set_continue()
    tell(writes=writes, seen=seen, stolen=stolen, kept=kept)


def suspended_generator():
    a = np.zeros(4)

    def generate():
        a[0] += 1
        yield sys._getframe()
        a[0] += 1
        yield None

    follower = lines.make()
    watch(follower, 1, a)
    suspended = generate()
    frame = next(suspended)
    followed = frame.f_trace is not None
    follower.stop()
    own_frame = sys._getframe().f_trace is None
    sys.settrace(lambda *_: None)
    next(suspended)
    sys.settrace(None)
    told(follower, followed=followed, let_go=frame.f_trace is None, own_frame=own_frame)


def forked_child():
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    a[0] = 1
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        quiet = not follower.running and sys.gettrace() is None and threading.gettrace() is None
        a[0] = 5
        quiet = quiet and not follower.collect() and sys._getframe().f_trace is None
        again = watch(follower, 1, a)
        a[1] = 5
        line = here() - 1
        writes = follower.collect()
        followed = [write.place.line for write in writes] == [line]
        os.write(writer, bytes([quiet, again, followed]))
        os._exit(0)
    answer = os.read(reader, 3)
    os.waitpid(child, 0)
    told(follower, answer=list(answer), running=follower.running)


def signal_handler_raises():
    a = np.zeros(4)

    def handler(*_):
        raise Noticed

    signal.signal(signal.SIGUSR1, handler)
    raised = []

    def hold():
        if not raised:
            raised.append(1)
            signal.raise_signal(signal.SIGUSR1)
        return a

    follower = lines.make()
    follower.also = hold
    follower.watch(1, a.ctypes.data, a.nbytes, weakref.ref(a))
    caught = None
    try:
        a[0] = 1
        a[0] = 2
    except Noticed as error:
        caught = type(error).__name__
    follower.stop()
    tell(caught=caught, errors=follower.errors, tracing=sys.gettrace() is not None)


def failing_evidence():
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)

    follower.also = within_the_package("def f(): raise ValueError('broken')")
    for i in range(30):
        a[0] = i
    tell(
        value=a[0],
        running=follower.running,
        tracing=sys.gettrace() is not None,
        errors=len(follower.errors),
        started=watch(follower, 1, a),
        why=follower.why,
    )


def failing_owner():
    a = np.zeros(4)
    calls = []

    def hold():
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("broken")
        return a

    follower = lines.make()
    started = follower.watch(1, a.ctypes.data, a.nbytes, hold)
    for i in range(3):
        a[0] = i + 1
    told(follower, started=started, calls=len(calls))


def writer_without_a_line_of_the_users():
    """A pool's thread writes in C, between lines of the standard library."""
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    ready = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ready.set).result()
        done = pool.submit(np.copyto, a, 7.0)
        done.result()
        told(follower, value=a[0])


def waiting_threads():
    """Threads that sleep in the standard library's waits and in C are no suspects."""
    a = np.zeros(4)
    go = threading.Event()
    asleep = threading.Lock()
    asleep.acquire()
    threads = [threading.Thread(target=go.wait), threading.Thread(target=asleep.acquire)]
    for thread in threads:
        thread.start()
    while {sys._current_frames()[thread.ident].f_code.co_name for thread in threads} != {"wait", "run"}:
        pass
    follower = lines.make()
    watch(follower, 1, a)
    exact = 0
    while exact < 200:  # on a busy machine a thread has been started and does not wait yet
        a[0] += 1
        exact = exact + 1 if follower.collect()[-1].exact else 0
    a[0] = 2
    a[0] = 3
    untraced = follower.untraced_threads
    told(follower, untraced=untraced)
    asleep.release()
    go.set()


def thread_that_ran_before():
    a = np.zeros(4)
    go, done = threading.Event(), threading.Event()

    def run():
        go.wait()
        a[0] = 1
        done.set()

    thread = threading.Thread(target=run, name="earlier")
    thread.start()
    while sys._current_frames()[thread.ident].f_code.co_name != "wait":
        pass
    follower = lines.make()
    watch(follower, 1, a)
    untraced = follower.untraced_threads
    go.set()
    done.wait()
    thread.join()
    told(
        follower, untraced=untraced, line=run.__code__.co_firstlineno + 2, go=run.__code__.co_firstlineno + 1
    )


def stopped_from_another_thread():
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    a[0] = 1
    thread = threading.Thread(target=follower.unwatch, args=(1,))
    thread.start()
    thread.join()
    a[0] = 2
    told(
        follower,
        running=follower.running,
        tracing=sys.gettrace() is not None,
        frame=sys._getframe().f_trace is None,
    )


def exceptions_and_locals():
    """What the program does is the same: exceptions, tracebacks, lifetimes, recursion."""
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    log = []

    class Object:
        def __del__(self):
            log.append("freed")

    def fails():
        kept = Object()
        a[0] += 1
        del kept
        log.append("after del")
        raise KeyError("x")

    try:
        fails()
    except KeyError as error:
        step, depth = error.__traceback__, 0
        while step is not None:
            step, depth = step.tb_next, depth + 1
        log.append(["traceback", depth])
    counted = []

    def count():
        counted.append(1)
        count()

    try:
        count()
    except RecursionError:
        log.append("recursion")
    told(follower, log=log, deep=len(counted) > 900)


def library_lines():
    names = library("def fill(a):\n    a[0] = 1\n    a[1] = 1\n")
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)
    names["fill"](a)
    line = here() - 1
    told(follower, line=line)


def kernel_writes():
    a = np.zeros(8, np.uint8)
    follower = lines.make()
    watch(follower, 1, a)
    with open(__file__, "rb") as file:
        file.readinto(a)
        line = here() - 1
    ctypes.memset(a.ctypes.data, 1, 8)
    told(follower, expected=[line, line + 2])


def frames_are_not_kept():
    a = np.zeros(4)
    follower = lines.make()
    watch(follower, 1, a)

    def write():
        value = np.zeros(1000)
        a[0] += 1
        return weakref.ref(value)

    gone = write()() is None
    gc.collect()
    told(follower, gone=gone)


globals()[sys.argv[1]]()
