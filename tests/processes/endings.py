"""Children of one kind that end in every way; the last line is what a guard knows of each.

Usage: endings.py KIND. Each child reads five times on the line ``before``, goes on until a part of its own is
written, reads three times on the line ``after``, and ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from tensorwatch_guard import guard

ENDINGS = ("return", "exception", "sys.exit", "os._exit", "SIGTERM", "SIGKILL")


def written() -> bool:
    folder = json.loads(os.environ["_TENSORWATCH_GUARD_FAMILY"])["folder"]
    return any(f"-{os.getpid()}-" in name and name.endswith(".json") for name in os.listdir(folder))


def before(value: torch.Tensor) -> None:
    for _ in range(5):
        value.item()


def after(value: torch.Tensor) -> None:
    for _ in range(3):
        value.item()


def work(ending: str) -> None:
    value = torch.ones(())
    before(value)
    while not written():
        value.tolist()
    after(value)
    if ending == "exception":
        raise ValueError("this is how this child ends")
    if ending == "sys.exit":
        sys.exit(3)
    if ending == "os._exit":
        os._exit(0)
    if ending.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, ending))


def process(method: str, ending: str) -> None:
    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=work, args=(ending,))
    child.start()
    child.join()


def program(ending: str) -> None:
    subprocess.run([sys.executable, __file__, "work", ending], check=False)


def forked(ending: str) -> None:
    child = os.fork()
    if not child:
        work(ending)
        sys.exit(0)
    os.waitpid(child, 0)


class Ends(Dataset[Any]):
    """Its worker ends while it loads the only item."""

    def __init__(self, ending: str) -> None:
        self.ending = ending

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        work(self.ending)
        return index


def loader(ending: str) -> None:
    with contextlib.suppress(RuntimeError, ValueError):
        for _ in DataLoader(Ends(ending), num_workers=1):
            pass
    gc.collect()  # an exception keeps the iterator, and its worker, for a while


def pool(ending: str) -> None:
    context: Any = multiprocessing.get_context("fork")
    workers = context.Pool(1)
    waiting = workers.apply_async(work, (ending,))
    if ending in {"return", "exception"}:
        waiting.wait()
        workers.close()
    else:  # a pool never hears of a task whose worker ended
        workers._pool[0].join()
        workers.terminate()
    workers.join()


def executor(ending: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as workers:
        waiting = workers.submit(work, ending)
        with contextlib.suppress(ValueError, SystemExit, BrokenProcessPool):
            waiting.result()


KINDS = {
    "Process, fork": partial(process, "fork"),
    "Process, spawn": partial(process, "spawn"),
    "Process, forkserver": partial(process, "forkserver"),
    "Pool": pool,
    "ProcessPoolExecutor": executor,
    "DataLoader worker": loader,
    "Python subprocess": program,
    "os.fork": forked,
}


def known(kind: str, ending: str) -> dict[str, Any]:
    """What the guard of one child knows of it."""
    with guard(report=False) as g:
        KINDS[kind](ending)
    counts = {finding.site.function: finding.count for finding in g.report.findings if finding.site is not None}
    cut = any("killed" in spot for spot in g.report.blind_spots)
    rows = [row for row in g.report.run.extra.get("processes", ()) if row["role"] != "main"]
    return {
        "before": counts.get("before", 0),
        "after": counts.get("after", 0),
        "cut": cut,
        "aborted": [row["aborted"] for row in rows],
        "notices": [notice.text for notice in g.report.notices],
    }


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2])
        sys.exit(0)
    if sys.argv[1] == "Process, forkserver":
        multiprocessing.set_forkserver_preload(["torch"])
    environment = dict(os.environ)
    told = {ending: known(sys.argv[1], ending) for ending in ENDINGS}
    assert dict(os.environ) == environment
    left = [name for name in os.listdir(tempfile.gettempdir()) if f"tensorwatch-guard-{os.getpid()}-" in name]
    print(json.dumps({"endings": told, "left": left}))
