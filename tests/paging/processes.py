"""The supervisor among the program's own processes, signals and files: one small story a function."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
from paged import PAGE, pages, seen, tell, watched

from tensorwatch_guard.sharing.kernel import handler_of
from tensorwatch_guard.sharing.pages import PageFollower

LIMIT = 20.0


def until(condition: Callable[[], object]):
    """Wait for something that must come to pass."""
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            sys.exit("it did not come to pass")
        time.sleep(0.001)


def ended(process: int):
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def no_child():
    """A handler for SIGCHLD and a thread in ``os.wait()`` all the while: neither meets the supervisor."""
    met = []
    signal.signal(signal.SIGCHLD, lambda *_: met.append("SIGCHLD"))
    stop = threading.Event()

    def reap():
        while not stop.is_set():
            with contextlib.suppress(ChildProcessError):
                met.append(os.wait())

    reaper = threading.Thread(target=reap)
    reaper.start()
    follower = PageFollower()
    array = watched(follower, pages(4))
    array[PAGE] = 1
    writes = len(follower.collect())
    process = follower.supervisor
    parent = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1]
    follower.close()
    until(lambda: ended(process))
    stop.set()
    reaper.join()
    return {"met": met, "writes": writes, "its parent is us": int(parent) == os.getpid()}


def forked():
    """A child is unwatched and correct, the parent goes on; the child's copy of the follower does nothing."""
    follower = PageFollower()
    array = watched(follower, pages(8))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        array[PAGE] = 5
        inherited = follower.collect()
        refused = follower.watch(1, array.ctypes.data, array.nbytes)[0]
        follower.unwatch(1)
        follower.close()
        handlers = [handler_of(signal.SIGRTMIN + 5), handler_of(signal.SIGRTMIN + 6)]
        own = PageFollower()
        watched(own, array, 3)
        array[2 * PAGE] = 6
        mine = [w.key for w in own.collect()]
        own.close()
        os.write(write, repr([len(inherited), refused, follower.why, handlers, mine, int(array[PAGE])]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = eval(os.read(read, 4096))  # noqa: S307  # our own child
    untouched = int(array[PAGE])
    quiet = len(follower.collect())
    array[PAGE] = 1  # forked
    writes = [seen(one) for one in follower.collect()]
    follower.close()
    return {"child": told, "untouched": untouched, "quiet": quiet, "writes": writes}


def double(array: np.ndarray, queue: SimpleQueue):
    array[:] = 2
    queue.put(int(array.sum()))


def multiprocessing_fork():
    follower = PageFollower()
    array = watched(follower, pages(8))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    worker = context.Process(target=double, args=(array, queue))
    worker.start()
    total = queue.get()
    worker.join()
    array[PAGE] = 1
    writes = len(follower.collect())
    follower.close()
    return {"total": total, "size": array.size, "exitcode": worker.exitcode, "writes": writes}


def killed():
    """The supervisor is killed between two writes."""
    follower = PageFollower()
    array = watched(follower, pages(8))
    array[PAGE] = 1
    process = follower.supervisor
    os.kill(process, signal.SIGKILL)
    until(lambda: ended(process))
    array[2 * PAGE] = 2
    left = [write.key for write in follower.collect()]
    array[3 * PAGE] = 3
    whole, pieces = follower.watch(2, array.ctypes.data, array.nbytes)
    follower.unwatch(1)
    handlers = [handler_of(signal.SIGRTMIN + 5), handler_of(signal.SIGRTMIN + 6)]
    found = {"left": left, "why": follower.why, "whole": whole, "pieces": len(pieces), "handlers": handlers}
    follower.close()
    return found


def killed_while_a_thread_waits():
    follower = PageFollower()
    array = watched(follower, pages(8))
    process = follower.supervisor
    os.kill(process, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T")
    at = []

    def work():
        at.append(threading.get_native_id())
        memoryview(array)[PAGE] = 1
        at.append("done")

    # its write holds the interpreter lock, so somebody outside must end the supervisor
    killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -KILL {process}"])
    worker = threading.Thread(target=work)
    worker.start()
    worker.join(LIMIT)
    killer.wait()
    until(lambda: follower.collect() or follower.why)
    found = {"done": at[1:] == ["done"], "value": int(array[PAGE]), "why": follower.why}
    follower.close()
    return found


def signals_are_given_back():
    mine = []
    signal.signal(signal.SIGUSR1, lambda *_: mine.append("SIGUSR1"))
    signal.signal(signal.SIGRTMIN + 5, lambda *_: mine.append("RT5"))
    before = [handler_of(number) for number in range(1, signal.SIGRTMAX + 1)]
    follower = PageFollower()
    array = watched(follower, pages(8))
    faulthandler.enable(os.open("/dev/null", os.O_WRONLY))
    for number in (signal.SIGUSR1, signal.SIGRTMIN + 5):
        signal.raise_signal(number)
    array[PAGE] = 1
    writes = len(follower.collect())
    during = [handler_of(number) for number in range(1, signal.SIGRTMAX + 1)]
    still = faulthandler.is_enabled()
    faulthandler.disable()
    follower.close()
    after = [handler_of(number) for number in range(1, signal.SIGRTMAX + 1)]
    ours = [number + 1 - signal.SIGRTMIN for number in range(len(before)) if during[number] != before[number]]
    return {"mine": mine, "writes": writes, "still": still, "same": before == after, "ours": [n for n in ours if n > 0]}


def signals_taken_over():
    """Somebody takes our signal while memory is watched: it stays theirs."""
    follower = PageFollower()
    array = watched(follower, pages(8))
    mine = []
    signal.signal(signal.SIGRTMIN + 5, lambda *_: mine.append(1))
    array[PAGE] = 1
    array[PAGE * 2] = 1
    writes = [seen(write)["exact"] for write in follower.collect()]
    array[PAGE] = 2
    writes += [seen(write)["exact"] for write in follower.collect()]
    follower.close()
    theirs = signal.getsignal(signal.SIGRTMIN + 5)
    signal.raise_signal(signal.SIGRTMIN + 5)
    return {"writes": writes, "theirs": callable(theirs), "called": len(mine)}


def signals_blocked():
    """A thread that takes no signals has no line, and nothing else happens to it."""
    follower = PageFollower()
    array = watched(follower, pages(8))
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    array[PAGE] = 1
    writes = [seen(write) for write in follower.collect()]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    array[PAGE] = 1
    writes += [seen(write) for write in follower.collect()]
    follower.close()
    return [[write["exact"], write["line"] is not None] for write in writes]


def without_standard_streams():
    out = os.dup(1)
    for stream in range(3):
        os.close(stream)
    follower = PageFollower()
    array = watched(follower, pages(8))
    array[PAGE] = 1
    writes = [seen(write)["exact"] for write in follower.collect()]
    free = [stream for stream in range(3) if not os.path.exists(f"/proc/self/fd/{stream}")]
    follower.close()
    os.dup2(out, 1)
    return {"writes": writes, "free": free}


def descriptors_closed():
    """A program that closes "all" descriptors, as daemons do, and opens its own."""
    follower = PageFollower()
    array = watched(follower, pages(8))
    os.closerange(3, 512)
    files = [os.open(f"/tmp/twg-{os.getpid()}-{n}", os.O_RDWR | os.O_CREAT | os.O_EXCL) for n in range(120)]
    array[PAGE] = 1
    done = int(array[PAGE])
    found = [len(follower.collect()), follower.why]
    follower.close()
    sizes = [os.fstat(file).st_size for file in files]  # all of them still open
    for n in range(120):
        os.unlink(f"/tmp/twg-{os.getpid()}-{n}")
    return {"done": done, "found": found, "written into": sum(sizes)}


def inherits_nothing():
    """A pipe the program lets its children inherit: the supervisor is none of them."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    follower = PageFollower()
    watched(follower, pages(8))
    os.close(write)
    end = os.read(read, 1)
    links = [os.readlink(file) for file in Path(f"/proc/{follower.supervisor}/fd").iterdir()]
    where = os.readlink(f"/proc/{follower.supervisor}/cwd")
    follower.close()
    return {"end": end == b"", "pipes": [link for link in links if link.startswith("pipe")], "where": where}


def ends_with_the_program():
    """Left without a word: the supervisor must not stay behind."""
    follower = PageFollower()
    watched(follower, pages(8))
    tell(follower.supervisor)
    os._exit(0)


def ends_at_exit():
    """The interpreter puts signals back when it ends; a thread that still writes then must not die of one."""
    follower = PageFollower()
    array = watched(follower, pages(8))

    def work():
        while True:
            array[PAGE] += 1

    threading.Thread(target=work, daemon=True).start()
    threading.Thread(target=lambda: [follower.collect() for _ in iter(int, 1)], daemon=True).start()
    until(lambda: array[PAGE] > 20)
    tell(follower.supervisor)
    sys.exit(0)


def not_before_needed():
    follower = PageFollower()
    follower.unwatch(5)
    follower.rearm()
    idle = [follower.supervisor, len(follower.collect()), len(follower.new_event_view())]
    follower.close()
    return idle


if __name__ == "__main__":
    tell(globals()[sys.argv[1]]())
