"""What importing costs, told by what gets imported: nobody pays for torch, wrapt or argparse before they are needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "wrapt", "rich", "xxhash", "argparse", "dataclasses", "asyncio", "difflib", "tomllib"}


def loaded(code: str, **variables: str) -> set[str]:
    """The modules that a fresh interpreter holds after ``code``."""
    program = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(json.loads(done.stdout.splitlines()[-1]))


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("tensorwatch_guard")}


def test_the_package_imports_nothing_heavy():
    assert loaded("import tensorwatch_guard; dir(tensorwatch_guard)") & HEAVY == set()


def test_an_interpreter_without_the_variable_imports_nothing_of_ours():
    assert ours(loaded("pass")) == set()


def test_with_the_variable_only_the_lookout_is_loaded_until_torch_is():
    names = loaded("import json", TENSORWATCH_GUARD="1")
    assert ours(names) == {"tensorwatch_guard", "tensorwatch_guard._bootstrap"}
    assert names & HEAVY == set()


@pytest.mark.parametrize("name", ["limit", "ConfigError", "Limit"])
def test_levels_need_no_torch(name: str):
    names = loaded(f"from tensorwatch_guard import {name}")
    assert names & {"torch", "numpy", "wrapt", "rich", "xxhash", "difflib"} == set()


def test_reading_reports_needs_no_torch():
    assert loaded("from tensorwatch_guard import Report") & {"torch", "numpy", "wrapt", "rich"} == set()


def test_the_command_line_needs_no_torch():
    names = loaded("from tensorwatch_guard.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass")
    assert names & {"torch", "numpy", "wrapt", "rich", "xxhash"} == set()


@pytest.mark.parametrize("order", ["import tensorwatch_guard.guard", "from tensorwatch_guard.guard import guard as g"])
def test_the_class_is_found_under_its_name_whatever_was_loaded_first(order: str):
    assert "torch" in loaded(f"{order}\nfrom tensorwatch_guard import guard\nassert isinstance(guard, type), guard")


def test_every_public_name_is_there():
    import tensorwatch_guard

    for name in tensorwatch_guard.__all__:
        assert getattr(tensorwatch_guard, name) is not None
        assert name in dir(tensorwatch_guard)
    with pytest.raises(AttributeError, match="gaurd"):
        _ = tensorwatch_guard.gaurd
