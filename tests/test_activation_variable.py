"""``TENSORWATCH_GUARD=1`` guards any program, with no change to it; anything wrong with it never stops one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
    import numpy as np
    import torch

    array = np.zeros(4)
    tensor = torch.from_numpy(array)
    array[0] = 5
    print(tensor.sum().item())
"""


class Started:
    """Starts ``python`` on a text, with variables."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.environ = environ

    def __call__(self, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (self.home / "train.py").write_text(textwrap.dedent(text))
        return subprocess.run(
            [sys.executable, "train.py"],
            cwd=self.home,
            env={**self.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture
def started(tmp_path: Path, measured: dict[str, str]) -> Started:
    return Started(tmp_path, measured)


def test_a_report_at_exit_with_no_code_change(started: Started):
    done = started(PROGRAM, TENSORWATCH_GUARD="1", TENSORWATCH_GUARD_REPORT="r-%p.json")
    assert (done.stdout, done.returncode) == ("5.0\n", 0)
    assert "train.py:6" in done.stderr
    (file,) = started.home.glob("r-*.json")
    assert {one["kind"] for one in json.loads(file.read_text())["findings"]} == {"alias", "mutation", "read"}


def test_a_clean_program_says_one_line(started: Started):
    done = started("import torch\nprint(torch.ones(2).sum())\n", TENSORWATCH_GUARD="1")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "nothing to mend" in done.stderr


@pytest.mark.parametrize("value", ["", "0", "off"])
def test_unset_or_off_is_nothing(started: Started, value: str):
    assert started(PROGRAM, TENSORWATCH_GUARD=value).stderr == ""


def test_a_program_without_torch_pays_and_prints_nothing(started: Started):
    text = """
        import sys
        print(sorted(name for name in sys.modules if name == "wrapt" or name.startswith("tensorwatch_guard.")))
    """
    done = started(text, TENSORWATCH_GUARD="error", TENSORWATCH_GUARD_WRITES="nonsense")
    assert (done.stdout, done.stderr, done.returncode) == ("['tensorwatch_guard._bootstrap']\n", "", 0)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"TENSORWATCH_GUARD": "eror"}, "TENSORWATCH_GUARD='eror' is no level; good values: off, log, warn, error"),
        ({"TENSORWATCH_GUARD": "1", "TENSORWATCH_GUARD_SNYC": "0"}, 'did you mean "TENSORWATCH_GUARD_SYNC"'),
        ({"TENSORWATCH_GUARD": "1", "TENSORWATCH_GUARD_JSON": "missing/r.json"}, "there is no directory"),
    ],
    ids=["level", "name", "path"],
)
def test_what_is_wrong_is_told_and_the_program_runs_unguarded(started: Started, variables: dict[str, str], told: str):
    done = started(PROGRAM, **variables)
    assert (done.stdout, done.returncode) == ("5.0\n", 0)
    assert told in done.stderr
    assert done.stderr.endswith("tensorwatch_guard: the program runs unguarded\n")


def test_the_kill_switch_wins(started: Started):
    done = started(PROGRAM, TENSORWATCH_GUARD="1", TENSORWATCH_GUARD_DISABLE="1")
    assert (done.stdout, done.stderr) == ("5.0\n", "")


def test_an_error_level_stops_the_program_at_the_users_line(started: Started):
    text = "import torch\nloss = torch.ones(2, device='cuda').sum()\nprint(loss.item())\nprint('not reached')\n"
    done = started(text, TENSORWATCH_GUARD="1", TENSORWATCH_GUARD_SYNC="error", TENSORWATCH_GUARD_SIMULATE="cuda")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "GuardViolation" in done.stderr
    assert "train.py:3" in done.stderr


def test_the_users_pyproject_is_read(started: Started):
    (started.home / "pyproject.toml").write_text('[tool.tensorwatch_guard]\njson = "kept.json"\nreport = "off"\n')
    done = started(PROGRAM, TENSORWATCH_GUARD="1")
    assert (done.stdout, done.stderr) == ("5.0\n", "")
    assert (started.home / "kept.json").exists()


def test_a_failed_import_of_torch_stays_the_programs_own(started: Started):
    (started.home / "torch.py").write_text("raise ImportError('mine')\n")
    plain = started("import torch\n")
    guarded = started("import torch\n", TENSORWATCH_GUARD="1")
    assert guarded.returncode == plain.returncode == 1
    assert guarded.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1] == "ImportError: mine"


def test_looking_for_torch_without_importing_it_starts_nothing(started: Started):
    text = "import importlib.util, sys\nprint(importlib.util.find_spec('torch') is not None, 'torch' in sys.modules)\n"
    done = started(text, TENSORWATCH_GUARD="1")
    assert (done.stdout, done.stderr) == ("True False\n", "")


def test_torch_keeps_its_own_loader_and_the_lookout_is_gone(started: Started):
    text = """
        import inspect, sys
        import torch
        print(type(torch.__loader__).__name__, type(torch.__spec__.loader).__name__)
        print(inspect.getsource(torch)[:3] != "")
        print([type(finder).__name__ for finder in sys.meta_path if "tensorwatch" in type(finder).__module__])
    """
    done = started(text, TENSORWATCH_GUARD="1", TENSORWATCH_GUARD_REPORT="off", TENSORWATCH_GUARD_WRITES="off")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["SourceFileLoader SourceFileLoader", "True"]
    assert "_Lookout" not in lines[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_child_does_not_report_for_its_parent(started: Started):
    text = PROGRAM + "    import os, sys\n    if os.fork() == 0:\n        sys.exit(0)\n    os.wait()\n"
    done = started(text, TENSORWATCH_GUARD="1", TENSORWATCH_GUARD_JSON="r-%p.json")
    assert done.returncode == 0
    assert len(list(started.home.glob("r-*.json"))) == 1
    assert done.stderr.count("  WHAT  ") == 1


@pytest.mark.parametrize("first", ["from tensorwatch_guard import guard", "import tensorwatch_guard.guard, json.tool"])
def test_the_package_may_be_imported_ahead_of_torch(started: Started, first: str):
    done = started(f"{first}\n{textwrap.dedent(PROGRAM)}", TENSORWATCH_GUARD="1", TENSORWATCH_GUARD_JSON="report.json")
    assert (done.stdout, done.returncode) == ("5.0\n", 0), done.stderr
    found = json.loads((started.home / "report.json").read_text())["findings"]
    assert "mutation" in {one["kind"] for one in found}, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_the_program_as_it_does_without(started: Started):
    # who was started in the background by a shell without job control has it ignored
    handled = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    text = f"{handled}{textwrap.dedent(PROGRAM)}\nsignal.raise_signal(signal.SIGINT)\n"
    assert started(text).returncode == started(text, TENSORWATCH_GUARD="1").returncode == -2


def test_a_test_run_where_warnings_are_errors(started: Started):
    (started.home / "test_one.py").write_text("import torch\n\ndef test_one():\n    assert torch.ones(1).item() == 1\n")
    text = "import pytest\nraise SystemExit(pytest.main(['-q', '-W', 'error', '-p', 'no:cacheprovider', 'test_one.py']))\n"
    done = started(text, TENSORWATCH_GUARD="1")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_whatever_fails_torch_is_imported_also_where_nothing_can_be_said(measured: dict[str, str]) -> None:
    program = """
import sys
import tensorwatch_guard._bootstrap as bootstrap
import tensorwatch_guard.environment as environment
del environment.arm
bootstrap.wait_for_torch()
sys.stderr = open("/dev/full", "w", buffering=1)
import torch
print(torch.ones(1).item(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=measured, check=False)
    assert done.stdout == "1.0\n"
