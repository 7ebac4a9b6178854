"""Programs in which something goes wrong around the guard: ``python -m faults.situations NAME``.

Each tells what it found as a last line of JSON, or ends as its situation has it.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import resource
import signal
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tensorwatch_guard import Report, guard
from tensorwatch_guard.running import RUNNING

ITEM = torch.Tensor.item


def faults_of(report: Report) -> list[str]:
    """Its notices, but for those of a look that was cut short: how far one comes in its time is no fault."""
    return [notice.text for notice in report.notices if notice.rule != "TWG904"]


def overwrite() -> None:
    """A write that a report speaks of."""
    values = torch.zeros(4)
    array = values.numpy()
    array[1] = 3
    values.tolist()


def tell(**found: Any) -> None:
    """The answer to the test."""
    print(json.dumps(found))


def disk_is_full() -> None:
    with guard(json="/dev/full"):
        overwrite()
    tell(restored=torch.Tensor.item is ITEM)


def file_may_not_grow() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
    with guard(json="report.json"):
        overwrite()
    tell(restored=torch.Tensor.item is ITEM, left=os.listdir())


def interrupted() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with guard():
        overwrite()
        signal.raise_signal(signal.SIGINT)


def exits() -> None:
    with guard():
        overwrite()
        raise SystemExit(3)


def ends_at_once() -> None:
    with guard():
        overwrite()
        os._exit(4)


def signal_handlers() -> None:
    """A handler of the user's that uses torch itself, in the middle of anything; in the end it raises."""
    numbers, wrong = itertools.count(), []

    class LateError(Exception):
        pass

    def ticks(number: int, frame: Any) -> None:
        own = next(numbers)  # a handler may be interrupted by the next
        if torch.tensor([float(own)]).numpy()[0].item() != own:
            wrong.append(own)
        if own >= 40:  # one that falls into a weak reference's call-back Python itself throws away
            raise LateError("enough")

    before = signal.signal(signal.SIGALRM, ticks)
    with guard(report=False) as g:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        caught = ""
        try:
            while True:
                array = torch.ones(8).numpy()
                array[0] = 2
                torch.from_numpy(array).sum().item()
        except LateError as error:
            caught = str(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    handler = signal.signal(signal.SIGALRM, before)
    tell(
        caught=caught, wrong=wrong, same_handler=handler is ticks,
        notices=faults_of(g.report), restored=torch.Tensor.item is ITEM,
    )


def recursion() -> None:
    value = torch.ones(1)

    def down(depth: int) -> float:
        return value.numpy()[0] + value.item() + down(depth + 1)

    ends = []
    with guard(report=False) as g:
        for _ in range(3):
            try:
                down(0)
            except RecursionError:
                ends.append(value.item())
    with guard(report=False) as later:
        value.item()
    tell(ends=ends, limit=sys.getrecursionlimit(), reads=g.report.reads[0].count > 100, later=later.report.reads[0].count)


def shut_down_open() -> None:
    """The interpreter ends while guards are open, and destructors still convert."""

    class Late:
        def __init__(self) -> None:
            self.array = torch.ones(3).numpy()

        def __del__(self) -> None:
            torch.from_numpy(self.array).sum().item()

    kept = globals()
    kept["open"] = [guard(report=False).start(), guard(writes="exact", report=False).start()]
    kept["late"] = [Late(), torch.zeros(3).numpy()]
    kept["cycle"] = [kept["late"]]
    kept["cycle"].append(kept["cycle"])
    overwrite()


def collector_everywhere() -> None:
    """The garbage collector runs at each allocation, in call-backs too, over cycles that hold both sides."""
    results = []
    gc.set_threshold(1)
    with guard(report=False) as g:
        for step in range(60):
            tensor = torch.full((4,), float(step))
            array = tensor.numpy()
            cycle: list[Any] = [tensor, array]
            cycle.append(cycle)
            dead = weakref.ref(tensor, lambda _: gc.collect())
            array[0] = -1
            results.append(tensor.sum().item())
            del tensor, array, cycle, dead
    gc.set_threshold(700, 10, 10)
    gc.collect()
    told = sum(found.count for found in g.report.mutations)
    tell(
        equal=results == [3.0 * step - 1 for step in range(60)], told=told,
        live=[found.details["live"] for found in g.report.aliases], notices=faults_of(g.report),
    )


def threads_alive() -> None:
    """Threads convert while the guard is left, and are still there, at rest, when the interpreter ends."""
    going, over, resting = threading.Barrier(5), threading.Event(), threading.Barrier(5)

    def work() -> None:
        first = True
        while not over.is_set():
            array = torch.ones(16).numpy()
            array += 1
            torch.from_numpy(array).sum().item()
            if first:
                going.wait()
                first = False
        resting.wait()
        threading.Event().wait()

    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    with guard(report=False) as g:
        going.wait()
        overwrite()
    over.set()
    resting.wait()  # one that is inside PyTorch at the end takes the process with it, with and without a guard
    tell(told=bool(g.report.mutations), notices=faults_of(g.report))


def soak() -> None:
    """A hundred thousand events at many sites: memory goes with the sites."""
    lines = ["def walk(one, array, torch):"]
    lines += [line for _ in range(500) for line in ("    one.item()", "    torch.from_numpy(array)", "    one.numpy()")]
    space: dict[str, Any] = {}
    exec(compile("\n".join(lines), "/soak/walk.py", "exec"), space)
    one, array = torch.ones(1), np.ones(3)
    with guard(report=False) as g:
        space["walk"](one, array, torch)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(70):
            space["walk"](one, array, torch)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    tell(
        events=sum(found.count for found in g.report.findings), findings=len(g.report.findings), grown=grown,
        notices=faults_of(g.report), in_place=RUNNING.in_place,
    )


def memory_runs_out() -> None:
    """A conversion of the user's that finds no memory raises what it raises without a guard."""

    def fails() -> list[str]:
        told = []
        large = torch.ones(1).expand(1 << 50)
        for call in (large.tolist, lambda: np.asarray(large, dtype=int)):
            try:
                with contextlib.suppress(OverflowError):
                    call()
            except Exception as error:
                told.append(f"{type(error).__name__}: {error}")
        return told

    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, resource.RLIM_INFINITY))
    bare = fails()
    with guard(report=False) as g:
        guarded = fails()
    tell(equal=bare == guarded, bare=bare, notices=faults_of(g.report))


SITUATIONS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        disk_is_full, file_may_not_grow, interrupted, exits, ends_at_once, signal_handlers, recursion, shut_down_open,
        collector_everywhere, threads_alive, soak, memory_runs_out,
    )
}  # fmt: skip


if __name__ == "__main__":
    SITUATIONS[sys.argv[1]]()
