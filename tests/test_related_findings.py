"""What a finding is related to is a finding of the same report, also where an interval gave way to the line found in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from tensorwatch_guard import guard

PROGRAM = """\
import numpy as np
import torch

weight = torch.ones(8, requires_grad=True)
for turn in range(6):
    batch = torch.full((8,), float(turn + 1))
    loss = (weight * batch).sum()
    pixels = batch.numpy()
    pixels -= pixels.mean() + 1
    loss.backward()
"""


def test_a_hazard_speaks_of_the_line_that_was_found(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tensorwatch_guard", "run", "--json", "report.json", "train.py"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    findings = json.loads((tmp_path / "report.json").read_text())["findings"]
    (hazard,) = [one for one in findings if one["kind"] == "hazard"]
    (mutation,) = [one for one in findings if one["kind"] == "mutation"]
    assert (mutation["site"]["line"], mutation["details"]["exact"], mutation["severity"]) == (9, True, "error")
    written = [one for one in hazard["related"] if one["role"] == "written-by"]
    assert [(one["id"], one["site"]["line"]) for one in written] == [(mutation["id"], 9)]
    known = {one["id"] for one in findings}
    assert {other["id"] for one in findings for other in one["related"]} <= known


def test_the_place_that_hands_out_most_comes_first_and_gets_the_advice() -> None:
    state = np.zeros(4, np.float32)
    with guard(report=False, writes="check") as g:
        kept = [torch.from_numpy(state[:])]
        for _ in range(5):
            seen = torch.from_numpy(state)
            seen.sum().item()
            state += 1
        g.check()
    assert len(kept) == 1
    for found in g.report.mutations:
        shared = [other.site.source for other in found.related if other.role == "shared-by"]
        assert shared[0] == "torch.from_numpy(state)"
        assert "torch.from_numpy(state).clone()" in found.advice
