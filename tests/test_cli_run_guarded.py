"""``run`` around programs that use torch: the report, the file, the exit code, and tracebacks without us."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ALIAS = """
    import numpy as np
    import torch

    array = np.zeros(4)
    tensor = torch.from_numpy(array)
    print(tensor.sum().item())
"""
WAITS = """
    import torch

    loss = torch.ones(2, device="cuda").sum()
    print(loss.item())
    print(loss.item())
"""


class Guarded:
    """Runs a program under ``run`` in a directory of its own."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.environ = environ

    def __call__(self, text: str, *options: str) -> subprocess.CompletedProcess[str]:
        (self.home / "train.py").write_text(textwrap.dedent(text))
        command = [sys.executable, "-m", "tensorwatch_guard", "run", "--json", "r.json", *options, "train.py", "x"]
        return subprocess.run(
            command, cwd=self.home, env=self.environ, capture_output=True, text=True, check=False, timeout=300
        )

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "r.json").read_text())
        return found


@pytest.fixture
def guarded(tmp_path: Path, measured: dict[str, str]) -> Guarded:
    return Guarded(tmp_path, measured)


def test_the_report_is_of_the_script_and_its_globals_are_still_there(guarded: Guarded):
    done = guarded(ALIAS)
    assert (done.stdout, done.returncode) == ("0.0\n", 0)
    alias = next(one for one in guarded.report["findings"] if one["kind"] == "alias")
    assert Path(alias["site"]["file"]).name == "train.py"
    assert alias["site"]["line"] == 6
    assert alias["details"]["live"] == 1
    assert guarded.report["run"]["argv"][-1] == "x"
    assert guarded.report["run"]["aborted"] is False


def test_a_program_that_dies_leaves_its_report(guarded: Guarded):
    done = guarded(ALIAS + "    raise ValueError('mine')\n")
    assert done.returncode == 1
    assert "ValueError: mine" in done.stderr
    assert guarded.report["run"]["aborted"] is True
    assert {one["kind"] for one in guarded.report["findings"]} == {"alias", "read"}


def test_a_traceback_through_a_watched_call_shows_only_the_users_frames(guarded: Guarded):
    text = "import torch\n\ndef show():\n    torch.ones(2, requires_grad=True).numpy()\n\nshow()\n"
    done = guarded(text, "--report", "off")
    plain = subprocess.run(
        [sys.executable, guarded.home / "train.py"], env=guarded.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == plain.returncode == 1
    assert done.stderr.startswith(plain.stderr)
    assert "RuntimeError" in plain.stderr


@pytest.mark.parametrize(
    ("options", "ending", "code"),
    [
        ((), "", 0),
        (("--sync", "error"), "", 2),
        (("--sync", "1"), "", 2),
        (("--sync", "9"), "", 0),
        (("--sync", "error"), "\n    raise SystemExit(7)", 2),
        (("--sync", "warn"), "\n    raise SystemExit(7)", 7),
    ],
    ids=["log", "error", "limit passed", "limit kept", "error before the end", "own code"],
)
def test_exit_codes(guarded: Guarded, options: tuple[str, ...], ending: str, code: int):
    done = guarded(WAITS + ending, "--simulate", "cuda", *options)
    assert done.returncode == code, done.stderr
    assert {one["kind"] for one in guarded.report["findings"]} >= {"sync"}


def test_a_violation_that_the_program_swallows_is_still_told(guarded: Guarded):
    text = WAITS.replace("print(loss.item())", "try: loss.item()\n    except AssertionError: pass")
    assert guarded(text, "--simulate", "cuda", "--sync", "error").returncode == 2


def test_the_next_command_is_offered(guarded: Guarded):
    done = guarded("import torch\n" + textwrap.dedent(WAITS), "--simulate", "cuda")
    assert "tensorwatch-guard report r.json --format html -o report.html" in done.stderr.splitlines()[-1]


def test_the_kill_switch_leaves_the_program_alone(guarded: Guarded):
    guarded.environ = {**guarded.environ, "TENSORWATCH_GUARD_DISABLE": "1"}
    done = guarded(ALIAS)
    told = "tensorwatch-guard: TENSORWATCH_GUARD_DISABLE is set: nothing was watched\n"
    assert (done.stdout, done.stderr, done.returncode) == ("0.0\n", told, 0)
    assert not (guarded.home / "r.json").exists()


def test_the_variable_beside_run_makes_one_guard_not_two(guarded: Guarded):
    guarded.environ = {**guarded.environ, "TENSORWATCH_GUARD": "1"}
    done = guarded(ALIAS)
    assert done.stderr.count("host reads") <= 1
    reads = [one for one in guarded.report["findings"] if one["kind"] == "read"]
    assert [one["count"] for one in reads] == [1]


def test_variables_set_before_torch_still_take_effect(guarded: Guarded):
    text = "import os\nos.environ['OMP_NUM_THREADS'] = '1'\nimport torch\nprint(torch.get_num_threads())\n"
    guarded.environ = {name: value for name, value in guarded.environ.items() if name != "OMP_NUM_THREADS"}
    assert guarded(text).stdout == "1\n"
