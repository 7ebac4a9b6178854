"""Things that go wrong around the guard: full disks, interrupts, signals, recursion, ends of all kinds, the collector, threads.

Each in a child process (`faults.situations`); what must hold is that nothing of the user's is harmed and nothing kept is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from process_runs import SOURCE, launch

PATHS = os.pathsep.join(map(str, (SOURCE, Path(__file__).parent)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def started(name: str) -> subprocess.CompletedProcess[str]:
        return launch([sys.executable, "-m", "faults.situations"], name, PYTHONPATH=PATHS)

    return started


def _answer(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has it")
def test_a_full_disk_leaves_the_text_on_stderr(run: Any) -> None:
    ended = run("disk_is_full")
    assert _answer(ended) == {"restored": True}
    assert "/dev/full cannot be written" in ended.stderr
    assert "array[1] = 3" in ended.stderr or "written by NumPy" in ended.stderr


def test_a_file_that_may_not_grow_leaves_the_text_on_stderr_and_no_half_of_itself(run: Any) -> None:
    ended = run("file_may_not_grow")
    assert _answer(ended) == {"restored": True, "left": []}
    assert "report.json cannot be written" in ended.stderr
    assert "written by NumPy" in ended.stderr


def test_an_interrupt_in_training_ends_it_and_the_report_is_shown(run: Any) -> None:
    ended = run("interrupted")
    assert ended.returncode in {-signal.SIGINT, 130}
    assert "written by NumPy" in ended.stderr
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")


def test_an_exit_keeps_its_code_and_the_report_is_shown(run: Any) -> None:
    ended = run("exits")
    assert ended.returncode == 3
    assert "written by NumPy" in ended.stderr


def test_an_end_at_once_is_one(run: Any) -> None:
    ended = run("ends_at_once")
    assert (ended.returncode, ended.stdout, ended.stderr) == (4, "", "")


def test_signal_handlers_run_and_raise_through_us(run: Any) -> None:
    found = _answer(run("signal_handlers"))
    assert found == {"caught": "enough", "wrong": [], "same_handler": True, "notices": [], "restored": True}


def test_recursion_without_end_ends_as_without_us_and_the_next_guard_is_whole(run: Any) -> None:
    assert _answer(run("recursion")) == {"ends": [1.0, 1.0, 1.0], "limit": 1000, "reads": True, "later": 1}


def test_an_interpreter_that_ends_inside_guards_says_nothing(run: Any) -> None:
    ended = run("shut_down_open")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_garbage_collector_may_run_at_any_moment(run: Any) -> None:
    found = _answer(run("collector_everywhere"))
    assert found["equal"]
    assert found["told"] >= 1
    assert found["notices"] == []


def test_threads_that_outlive_guard_and_program_are_no_trouble(run: Any) -> None:
    assert _answer(run("threads_alive")) == {"told": True, "notices": []}


def test_memory_goes_with_the_sites_and_not_with_the_events(run: Any) -> None:
    found = _answer(run("soak"))
    assert found["events"] == 106_500
    assert found["findings"] == 1500
    assert found["grown"] < 1_000_000
    assert found["notices"] == []
    assert not found["in_place"]


def test_memory_that_runs_out_is_told_as_without_us(run: Any) -> None:
    found = _answer(run("memory_runs_out"))
    assert found["equal"]
    assert found["notices"] == []
