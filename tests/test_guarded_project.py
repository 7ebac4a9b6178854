"""The example project fails and passes as ``docs/guard-your-tests.md`` says, word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plugin_runs import PLUGIN, SOURCES

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "examples" / "guarded_project"
PAGE = ROOT / "docs" / "guard-your-tests.md"


def run(*options: str) -> tuple[int, str]:
    """The exit code of pytest in the example project, and what it printed."""
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-q", *options]
    environ = {**os.environ, "PYTHONPATH": SOURCES, "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    environ.pop("GITHUB_ACTIONS", None)
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environ)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def as_it_was() -> str:
    code, text = run("-o", "pythonpath=before")
    assert code == 1
    return text


def test_as_it_was_two_tests_fail_at_their_lines(as_it_was: str) -> None:
    assert "2 failed, 1 passed" in as_it_was
    assert "NumPy wrote into shared memory (at [1:4]): before/agent.py:19 in Pole.step  TWG401" in as_it_was
    assert "shared since before/agent.py:32 in Memory.add" in as_it_was
    assert "the host waits for cuda:0 (simulated): before/agent.py:55 in Agent.update (Tensor.__bool__)" in as_it_was


def test_mended_all_pass() -> None:
    code, text = run()
    assert (code, "3 passed" in text) == (0, True)


def test_a_baseline_lets_the_old_ones_pass(tmp_path: Path) -> None:
    known = str(tmp_path / "known.json")
    old = ("-o", "pythonpath=before", "-o", "tensorwatch_writes=check")
    code, text = run(*old, "--tensorwatch-baseline", known, "--tensorwatch-update-baseline")
    assert code == 0, text
    code, text = run(*old, "--tensorwatch=error", "--tensorwatch-baseline", known)
    assert code == 0, text


def test_the_page_shows_what_is_printed(as_it_was: str) -> None:
    page = PAGE.read_text()
    shown = [block for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if "GuardViolation" in block]
    assert len(shown) == 2
    printed = {line.strip() for line in as_it_was.splitlines()}
    for block in shown:
        for line in block.splitlines():
            assert line.strip() in printed, line


def test_every_example_on_the_page_is_python(tmp_path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        compile(block, "guard-your-tests.md", "exec")
