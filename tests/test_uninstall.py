"""After the guard everything is what it was: classes, modules, mode stacks, hooks, tracers, dynamo's tables."""

from __future__ import annotations

import ast
import gc
import json
import os
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tensorwatch_guard import guard

HERE = Path(__file__).parent
SITUATIONS = HERE / "uninstall" / "situations.py"
LIMIT_S = 200


def _situations() -> list[str]:
    """The names in the child's table, read from its source: importing it would need the guard."""
    for node in ast.parse(SITUATIONS.read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "SITUATIONS":
            assert isinstance(node.value, ast.Tuple)
            return [name.id for name in node.value.elts if isinstance(name, ast.Name)]
    raise AssertionError("no table of situations")


def _child(*arguments: str) -> Any:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TENSORWATCH_GUARD")}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent / "src"), str(HERE)])
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "uninstall.child", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told() -> dict[str, list[str]]:
    found: dict[str, list[str]] = _child("situations")
    return found


@pytest.mark.parametrize("situation", _situations())
def test_nothing_is_left_behind(told: dict[str, list[str]], situation: str) -> None:
    assert not told[situation], "\n".join(told[situation])


def test_dynamo_imported_under_the_guard_sees_the_originals() -> None:
    bare, guarded = _child("tables"), _child("tables", "guard")
    assert len(bare["rules"]) > 1000  # the tables were really read
    assert set(guarded["rules"]) ^ set(bare["rules"]) == set()
    for label, names in bare["ids"].items():
        assert set(guarded["ids"][label]) ^ set(names) == set(), label
    assert guarded["looked up"] == bare["looked up"]
    assert guarded["methods"] == bare["methods"]
    assert guarded["proxies"] == []


def test_nothing_of_the_users_is_kept_alive() -> None:
    class Big:
        """Something in the namespace of a notebook's cell."""

    space = {"big": Big(), "one": torch.ones(1, requires_grad=True)}
    known = weakref.ref(space["big"])
    with guard(report=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile("float(one)", "<cell>", "exec"), space)
    del space
    gc.collect()
    assert known() is None
