"""What a forked child must not inherit: forks.py SITUATION [PATH]. The last line is an answer."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tensorwatch_guard import allow, guard

context: Any = multiprocessing.get_context("fork")


def in_child(do: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    do()
    sys.exit(0)


def child_reads() -> None:
    torch.ones(()).item()  # read in the child


def parent_reads() -> None:
    torch.ones(()).item()


def counts(report: Any) -> dict[str, Any]:
    return {
        finding.site.function: [finding.count, finding.details.get("processes")]
        for finding in report.findings
        if finding.site is not None
    }


def empty_counts() -> Any:
    with guard(report=False) as g:
        for _ in range(7):
            parent_reads()
        in_child(child_reads)
    return counts(g.report)


def memory_of_the_parent() -> Any:
    """The child writes what the parent has shared: in its own copy, which is nobody's business here."""
    array = np.zeros(8, dtype=np.float32)
    with guard(report=False) as g:
        tensor = torch.from_numpy(array)

        def write() -> None:
            array[:] = 1
            child_reads()

        in_child(write)
        parent_reads()
    return {"mutations": len(g.report.mutations), "parent": float(tensor.sum()), "counts": counts(g.report)}


def leaves_the_block() -> Any:
    path = sys.argv[2]
    with guard(json=path) as g:
        parent_reads()
        child = os.fork()
        child_reads()
        if child:
            os.waitpid(child, 0)
    if not child:
        sys.exit(0)
    with open(path, encoding="utf-8") as file:
        ours = json.load(file)["run"]["pid"] == os.getpid()
    return {"written": ours, "counts": counts(g.report)}


def nested() -> Any:
    with guard(report=False) as outer:
        in_child(child_reads)
        with guard(report=False) as inner:
            in_child(child_reads)
        in_child(child_reads)
    return [counts(outer.report), counts(inner.report)]


def guard_in_the_child() -> Any:
    reader, writer = context.Pipe(False)

    def work() -> None:
        with guard(report=False) as own:
            child_reads()
        writer.send(counts(own.report))

    with guard(report=False) as g:
        process = context.Process(target=work)
        process.start()
        process.join()
    return [counts(g.report), reader.recv()]


def grandchildren() -> Any:
    with guard(report=False) as g:
        in_child(lambda: in_child(child_reads))
    return counts(g.report)


def busy_locks() -> Any:
    """Threads share memory and look at it all the time: some lock of ours is held at nearly every fork."""
    stop = threading.Event()

    def share() -> None:
        kept = []
        while not stop.is_set():
            array = np.zeros(64, dtype=np.float32)
            kept.append((array, torch.from_numpy(array)))
            array += 1
            kept[-1][1].sum().item()
            del kept[:-50]

    def work() -> None:
        array = np.zeros(64, dtype=np.float32)
        torch.from_numpy(array)
        child_reads()

    threads = [threading.Thread(target=share) for _ in range(3)]
    with guard(report=False) as g:
        for thread in threads:
            thread.start()
        codes = [in_child(work) for _ in range(6)]
        stop.set()
        for thread in threads:
            thread.join()
    notices = [notice.text for notice in g.report.notices if notice.rule != "TWG904"]  # a busy machine may cut a look short
    return [codes, counts(g.report)["child_reads"][0], notices]


def levels() -> Any:
    told = []
    for options in ({"read": "error"}, {"read": 1}, {"read": 2}, {"read": "log"}):
        try:
            with guard(report=False, **options):
                codes = [in_child(child_reads) for _ in range(2)]
            told.append("fine")
        except AssertionError as violation:
            told.append(str(violation).splitlines()[0].partition(": ")[2].partition(" (")[0])
        assert codes == [0, 0]
    return told


def two_lines() -> None:
    one = torch.ones(1)
    one.item()
    one.item()


def limits_together() -> Any:
    """Two reads in each of two children and one here, none of three lines more than twice, and a warm-up that never ends."""
    told = []
    for options in ({"read": 4}, {"read": 5}, {"read": "error", "after": 1}):
        try:
            with guard(report=False, **options):
                torch.ones(1).item()
                codes = [in_child(two_lines) for _ in range(2)]
            told.append("fine")
        except AssertionError:
            told.append("broken")
        assert codes == [0, 0]
    return told


def levels_of_ranks() -> Any:
    """Children that make themselves ranks of a run, as scripts do before ``init_process_group``."""
    told = []
    for options in ({"read": "error"}, {"read": 3}, {"read": 4}):
        try:
            with guard(report=False, **options):
                for rank in range(2):
                    in_child(lambda rank=rank: (os.environ.update(RANK=str(rank), WORLD_SIZE="2"), two_lines()))
            told.append("fine")
        except AssertionError:
            told.append("broken")
    return told


def odd_code() -> Any:
    def ends() -> None:
        torch.ones(1).item()
        sys.exit(["no", "number"])

    with guard(report=False) as g:
        child = context.Process(target=ends)
        child.start()
        child.join()
    return [child.exitcode, [(found.op, found.count) for found in g.report.findings], len(g.report.notices)]


def no_room() -> Any:
    tempfile.tempdir, tempfile._candidate_tempdir_list = None, lambda: ["/nowhere"]  # type: ignore[attr-defined]
    with guard(report=False) as g:
        torch.ones(1).item()
    return [notice.rule for notice in g.report.notices]


def allowed() -> Any:
    with guard(report=False, read="error") as g, allow("read", reason="metrics"):
        in_child(child_reads)
    return [finding.allowed for finding in g.report.findings]


def paused() -> Any:
    with guard(report=False) as g:
        with g.paused():
            in_child(child_reads)
        in_child(child_reads)
    return counts(g.report)


def after_the_guard() -> Any:
    before = dict(os.environ)
    from multiprocessing import spawn

    plain: Any = spawn.get_preparation_data
    with guard(report=False) as g:
        inside = spawn.get_preparation_data is not plain
    in_child(child_reads)
    return [inside, spawn.get_preparation_data is plain, dict(os.environ) == before, counts(g.report)]


def homeless() -> Any:
    tempfile.tempdir = os.path.join(tempfile.gettempdir(), "no", "such", "folder")
    with guard(report=False) as g:
        code = in_child(child_reads)
        parent_reads()
    return [code, counts(g.report), [notice.text for notice in g.report.notices]]


def own_lines() -> Any:
    """Exact mode in a child: lines are followed there, though the parent follows, too."""
    with guard(report=False, writes="exact") as g:
        mine = np.zeros(8, dtype=np.float32)
        kept = torch.from_numpy(mine)

        def write() -> None:
            array = np.zeros(8, dtype=np.float32)
            tensor = torch.from_numpy(array)
            array += 1  # written in the child
            tensor.sum().item()

        in_child(write)
        mine += 1  # written in the parent
        kept.sum().item()
    return [[m.site.line, m.details["exact"], m.details.get("processes")] for m in g.report.mutations]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
