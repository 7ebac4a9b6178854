"""Children of one kind that end in every way; the last line is what the guard's report knows of each.

Usage: endings.py KIND. Each child reads five times on the line ``before``, goes on until a part of its own is
written, reads three times on the line ``after``, and ends.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
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


def processes(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    started = [context.Process(target=work, args=(ending,), name=ending) for ending in ENDINGS]
    for one in started:
        one.start()
    for one in started:
        one.join()


def subprocesses() -> None:
    started = [subprocess.Popen([sys.executable, __file__, "work", ending]) for ending in ENDINGS]
    for one in started:
        one.wait()


def forked() -> None:
    children = []
    for ending in ENDINGS:
        child = os.fork()
        if not child:
            work(ending)
            sys.exit(0)
        children.append(child)
    for child in children:
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


def loaders() -> None:
    for ending in ENDINGS:
        try:
            for _ in DataLoader(Ends(ending), num_workers=1):
                pass
        except (RuntimeError, ValueError):
            pass


def pools() -> None:
    context: Any = multiprocessing.get_context("fork")
    for ending in ENDINGS:
        pool = context.Pool(1)
        waiting = pool.apply_async(work, (ending,))
        child = pool._pool[0]
        if ending in {"return", "exception"}:
            waiting.wait(60)
            pool.close()
        else:
            child.join()
            pool.terminate()
        pool.join()


KINDS = {
    "fork": lambda: processes("fork"),
    "spawn": lambda: processes("spawn"),
    "forkserver": lambda: processes("forkserver"),
    "subprocess": subprocesses,
    "os.fork": forked,
    "dataloader": loaders,
    "pool": pools,
}

if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2])
        sys.exit(0)
    environment, names = dict(os.environ), set(os.listdir("/tmp"))
    with guard(report=False) as g:
        KINDS[sys.argv[1]]()
    assert dict(os.environ) == environment
    answer = g.report.to_json()
    answer["left"] = [name for name in os.listdir("/tmp") if name.startswith(f"tensorwatch-guard-{os.getpid()}-")]
    print(json.dumps(answer))
