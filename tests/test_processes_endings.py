"""However a child process ends, its part survives: the table of ``docs/many-processes.md`` is made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from process_runs import answer

ENDINGS = ("return", "exception", "sys.exit", "os._exit", "SIGTERM", "SIGKILL")
KINDS = (
    *("Process, fork", "Process, spawn", "Process, forkserver", "Pool", "ProcessPoolExecutor", "DataLoader worker"),
    *("Python subprocess", "os.fork"),
)
ALL = "all"
LAST_PART = "last part"
PAGE = Path(__file__).parent.parent / "docs" / "many-processes.md"


def cell(known: dict[str, Any]) -> str:
    if known["before"] == 5 and known["after"] == 3 and not known["cut"]:
        return ALL
    return LAST_PART if known["before"] >= 1 and known["cut"] else f"lost: {known}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_child_saw_survives_its_end_as_the_page_says(kind: str) -> None:
    told = answer("endings.py", kind)
    cells = {ending: cell(told["endings"][ending]) for ending in ENDINGS}
    assert f"| {kind} | {' | '.join(cells.values())} |" in PAGE.read_text(encoding="utf-8").splitlines()
    assert told["left"] == []
    assert [known["notices"] for known in told["endings"].values()] == [[]] * len(ENDINGS)


def test_an_exception_is_told_as_the_end_of_the_process() -> None:
    told = answer("endings.py", "Process, fork")["endings"]
    assert told["return"]["aborted"] == [False]
    assert told["exception"]["aborted"] == [True]
    assert told["sys.exit"]["aborted"] == [True]  # it said 3


KILLED_AT_ONCE = """\
import multiprocessing
import os
import signal

import torch


def work():
    torch.ones(4).numpy()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    print(child.pid)
"""


def test_a_child_that_is_killed_before_its_first_word_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(KILLED_AT_ONCE)
    command = [sys.executable, "-m", "tensorwatch_guard", "run", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    told = " ".join(done.stderr.split())
    assert f"TWG906 process {done.stdout.strip()}: killed, or ended by os._exit, before the first word" in told
