"""The table of private names: each is used where it says, each is there, and what cannot be done without is said at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tensorwatch_guard
from tensorwatch_guard.private_api import NEEDED, PRIVATE, missing

HOUSE = Path(tensorwatch_guard.__file__).parent
ROOMS = {str(file.relative_to(HOUSE)): file.read_text("utf-8") for file in HOUSE.rglob("*.py") if file.name != "private_api.py"}
OURS = re.compile(r"\btorch\._C\.(_\w+)")
ONLY_SIMULATED = ("simulate/", "operations/", "rules/")


@pytest.mark.parametrize("row", PRIVATE, ids=lambda row: row.name)
def test_a_name_is_used_where_the_table_says(row: tensorwatch_guard.private_api.PrivateName) -> None:
    rooms = [text for name, text in ROOMS.items() if name == row.used_by or name.startswith(f"{row.used_by}/")]
    assert any(row.name.rpartition(".")[2] in text for text in rooms), row.used_by


def test_what_is_used_of_pytorchs_core_is_in_the_table() -> None:
    known = {part for row in PRIVATE for part in row.name.split(".")}
    used = {name for room, text in ROOMS.items() if not room.startswith(ONLY_SIMULATED) for name in OURS.findall(text)}
    assert not used - known


def test_nothing_is_missing_here() -> None:
    assert not missing()


@pytest.mark.parametrize("name", ["torch.compiler._is_compiling_flag", "torch._C._is_tracing"])
def test_without_a_name_that_is_needed_no_guard_is_made_and_the_program_runs(
    name: str, measured: dict[str, str], tmp_path: Path
) -> None:
    assert any(row.name == name and row.fallback == NEEDED for row in PRIVATE)
    owner, _, attribute = name.rpartition(".")
    program = tmp_path / "program.py"
    program.write_text(f"import torch\ndel {owner}.{attribute}\nimport tensorwatch_guard\ntensorwatch_guard.guard\n")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env=measured, check=False)
    assert "ImportError: tensorwatch_guard cannot watch PyTorch" in done.stderr
    assert name in done.stderr
