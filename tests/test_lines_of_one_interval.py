"""Several lines may write between two passes of the same two events: each is named, and the one that harmed is blamed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tensorwatch_guard import Report

if TYPE_CHECKING:
    from pathlib import Path

HELPER = """
import numpy as np
import torch

def update(loss):
    weight.grad = None
    loss.backward()
    optimizer.step()

buffer = np.ones(8, np.float32)
shared = torch.from_numpy(buffer)
weight = torch.ones(8, requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=0.0)
for turn in range(10):
    first, second = (weight * 2).sum(), (weight * shared).sum()
    update(first)
    buffer += 1  # breaks the second backward
    update(second)
    buffer *= 0.5  # breaks nothing
"""
HANDED_OUT = """
import numpy as np
import torch

def view(array):
    return torch.from_numpy(array)

kept = []
for turn in range(12):
    array = np.full(64, turn, np.float32)
    one = view(array)
    array += 1  # written
    other = view(array)
    array *= 2  # written, too
    kept.append((one, other, view(array)))
"""
INNER_LOOP = """
import numpy as np
import torch

array = np.zeros(8, np.float32)
shared = torch.from_numpy(array)
weight = torch.ones(8, requires_grad=True)
for outer in range(12):
    for inner in range(3):
        (weight * 2).sum().backward()
        if inner == 1:
            array += 1  # written
    array *= 0.5  # written, too
"""


def report_of(program: str, folder: Path) -> tuple[Report, dict[str, int]]:
    """In a child: coverage holds ``sys.settrace``. Also the numbers of the lines that have a comment, by what it says."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "tensorwatch_guard", "run", "--json", str(folder / "r.json"), str(folder / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stderr
    marked = {line.partition("# ")[2]: number for number, line in enumerate(program.splitlines(), 1) if "# " in line}
    return Report.load(folder / "r.json"), marked


@pytest.mark.parametrize("program", [HELPER, HANDED_OUT, INNER_LOOP], ids=["helper", "handed out", "inner loop"])
def test_each_line_is_named(program: str, tmp_path: Path) -> None:
    report, marked = report_of(program, tmp_path)
    named = {mutation.site.line for mutation in report.mutations if mutation.site is not None and mutation.details["exact"]}
    assert named == set(marked.values())


def test_the_line_that_harmed_is_blamed(tmp_path: Path) -> None:
    report, marked = report_of(HELPER, tmp_path)
    (hazard,) = report.hazards
    assert hazard.details["certain"]
    blamed = [other.site.line for other in hazard.related if other.role == "written-by" and other.site is not None]
    assert blamed[0] == marked["breaks the second backward"]
    assert f"program.py:{blamed[0]} overwrote values" in str(report).replace("\n        ", " ")
    harmless = next(one for one in report.mutations if one.site is not None and one.site.line == marked["breaks nothing"])
    assert not [other for other in harmless.related if other.role == "consumed-by"]


def test_each_write_of_a_busy_line_is_counted(tmp_path: Path) -> None:
    program = "import numpy as np, torch\na = np.zeros(4, np.float32)\nt = torch.from_numpy(a)\n"
    program += "for turn in range(100):\n    a[0] += 1\nprint(t.sum().item())\n"
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "tensorwatch_guard", "run", "--writes", "exact", "--json", "r.json", "program.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert [mutation.count for mutation in Report.load(tmp_path / "r.json").mutations] == [100]


LATER = """
import numpy as np
import torch

buffer = np.zeros((16, 8), np.float32)
shared = torch.from_numpy(buffer)
model = torch.nn.Linear(8, 1)
for turn in range(120):
    buffer[:] = turn % 7 - 3.5  # fills
    loss = model(shared).square().mean()
    if turn > 30:
        np.clip(buffer, -0.5, 0.5, out=buffer)  # breaks
    loss.backward()
"""


def test_a_line_that_begins_to_write_later_is_found_and_what_it_broke(tmp_path: Path) -> None:
    report, marked = report_of(LATER, tmp_path)
    assert {one.site.line for one in report.mutations if one.site is not None} == set(marked.values())
    (hazard,) = report.hazards
    assert hazard.details["certain"]
    assert next(other.site.line for other in hazard.related if other.role == "written-by" and other.site) == marked["breaks"]

