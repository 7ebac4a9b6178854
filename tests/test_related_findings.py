"""What a finding is related to is a finding of the same report, also where an interval gave way to the line found in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def found_in(program: str, folder: Path) -> list[dict[str, Any]]:
    """The findings of a program that runs by itself, under the default."""
    (folder / "train.py").write_text(program)
    command = [sys.executable, "-m", "tensorwatch_guard", "run", "--json", "report.json", "train.py"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    findings: list[dict[str, Any]] = json.loads((folder / "report.json").read_text())["findings"]
    return findings


def test_a_hazard_speaks_of_the_line_that_was_found(tmp_path: Path) -> None:
    findings = found_in(PROGRAM, tmp_path)
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


STAGING = """\
import numpy as np
import torch

torch.manual_seed(0)
stage = np.zeros((4, 3), np.float32)
staged = torch.from_numpy(stage)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for turn in range(40):
    stage[:] = turn
    loss = model(staged).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_a_buffer_that_is_filled_again_is_not_to_be_copied_and_breaks_no_gradient(tmp_path: Path) -> None:
    findings = found_in(STAGING, tmp_path)
    (mutation,) = [one for one in findings if one["kind"] == "mutation"]
    assert (mutation["site"]["line"], mutation["details"]["refilled"]) == (10, True)
    assert "copy where it is shared" not in mutation["advice"]
    assert [one for one in findings if one["kind"] == "hazard"] == []


def test_each_input_of_a_backward_that_was_overwritten_is_told_with_its_copy() -> None:
    ids, labels = np.array([1, 2, 3]), np.array([0, 1, 0])
    table, head = torch.nn.Embedding(10, 4), torch.nn.Linear(4, 2)
    with guard(report=False, writes="check") as g:
        tokens, target = torch.from_numpy(ids), torch.from_numpy(labels)
        loss = torch.nn.functional.cross_entropy(head(table(tokens)), target)
        ids[:] = [7, 8, 9]
        tokens[0].item()
        labels[:] = 1
        target[0].item()
        loss.backward()
    (hazard,) = g.report.hazards
    shared = {other.site.source for other in hazard.related if other.role == "shared-by" and other.site is not None}
    assert shared == {"torch.from_numpy(ids)", "torch.from_numpy(labels)"}
    assert "torch.from_numpy(labels).clone()" in hazard.advice
    assert "torch.from_numpy(ids).clone()" in hazard.advice


def test_what_was_kept_and_is_one_memory_is_counted() -> None:
    layer, history = torch.nn.Linear(2, 2), []
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with guard(report=False, writes="check") as g:
        for _ in range(6):
            layer(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            history.append(layer.weight.detach().numpy())
    (mutation,) = g.report.mutations
    assert mutation.details["kept"] == 5  # the sixth came after the last step
    assert "5 arrays or tensors that were kept are this one memory" in " ".join(str(g.report).split())


def test_what_may_have_made_a_gradient_wrong_is_not_to_be_allowed(tmp_path: Path) -> None:
    findings = found_in(THREADED, tmp_path)
    (mutation,) = [one for one in findings if one["kind"] == "mutation"]
    assert [one["details"]["type"] for one in findings if one["kind"] == "hazard"] == ["stale-gradient"]
    assert mutation["details"]["perhaps_used"]
    assert "allow" not in mutation["advice"]
    assert "backward is through with it" in mutation["advice"]


THREADED = """\
import queue
import threading
import numpy as np
import torch

rows, go, done = np.zeros((8, 3), np.float32), queue.Queue(), queue.Queue()

def actor():
    for turn in range(20):
        go.get()
        for row in range(8):
            rows[row] = turn + row + 1
        done.put(turn)

threading.Thread(target=actor, name="actor").start()
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(20):
    x = torch.from_numpy(rows[:6])
    loss = model(x).square().mean()
    go.put(step)
    done.get()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_what_was_broken_in_two_ways_is_told_twice_with_what_to_do() -> None:
    layer = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with guard(report=False, writes="check") as g:
        weights, first = layer.weight.detach().numpy(), layer.state_dict()
        for turn in range(3):
            loss = layer(torch.ones(2, 3)).tanh().square().sum()
            hidden = torch.ones(1, 3, requires_grad=True)
            loss = loss + (hidden * layer.weight).sum()
            g.check()
            weights += turn + 1
            loss.backward()
            optimizer.step()
        layer.load_state_dict(first)
    told = str(g.report)
    assert told.startswith("tensorwatch-guard: 2 errors")
    assert "error TWG501" in told
    assert "error TWG506" in told
    assert "copy.deepcopy(model.state_dict())" in " ".join(told.partition("error TWG506")[2].split())


TWO_WRITERS = """\
import numpy as np
import torch

rewards = np.zeros(48, np.float32)
weight = torch.ones(48, requires_grad=True)

def scale():
    for t in reversed(range(48)):
        rewards[t] = rewards[t] * 0.5 + 3
    return torch.from_numpy(rewards)

for turn in range(5):
    for t in range(48):
        torch.ones(1).item()
        rewards[t] = 1.0
    shared = torch.from_numpy(rewards)
    loss = (weight * shared).mean() + scale().sum()
    loss.backward()
"""


def test_the_write_that_harmed_is_named_first_not_the_one_that_came_most_often(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TWO_WRITERS)
    command = [sys.executable, "-m", "tensorwatch_guard", "run", "train.py"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stderr
    what = " ".join(told.partition("WHAT")[2].partition("WHY")[0].split())
    assert what.startswith("The gradients are wrong (")
    assert "): train.py:9 in scale overwrote values" in what


IN_A_LIBRARY = {
    "collating.py": """\
import torch

def collate(rows):
    return {"x": torch.from_numpy(rows)}
""",
    "train.py": """\
import numpy as np
import collating

rows, kept = np.zeros((4, 3), np.float32), []
for turn in range(6):
    rows += 1
    kept.append(collating.collate(rows))
    kept[0]["x"].sum().item()
""",
}


def test_no_copy_is_asked_of_an_expression_in_which_a_library_shared(tmp_path: Path) -> None:
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "collating.py").write_text(IN_A_LIBRARY["collating.py"])
    program = f"import sys; sys.path.insert(0, {str(library)!r})\n" + IN_A_LIBRARY["train.py"]
    found = found_in(program, tmp_path)
    advice = {one["advice"] for one in found if one["kind"] == "mutation"}
    assert advice == {"copy where it is shared: what goes into that call or comes out of it, with .copy() or .clone()"}


def test_a_batch_that_was_kept_is_no_buffer_to_allow(tmp_path: Path) -> None:
    program = """\
import numpy as np
import torch

buffer, kept = np.zeros((64, 4), np.float32), []
for turn in range(8):
    for row in range(64):
        buffer[row] = turn + row + 1
        torch.ones(1).item()
    kept.append(torch.from_numpy(buffer))
"""
    (mutation,) = [one for one in found_in(program, tmp_path) if one["kind"] == "mutation" and one["details"]["exact"]]
    assert mutation["details"]["kept"] >= 3
    assert mutation["advice"] == "copy where it is shared: torch.from_numpy(buffer).clone()"


def test_a_second_writer_is_named_beside_the_first(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("""\
import torch

layer = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
mean = layer.weight.detach().numpy()
for turn in range(6):
    layer(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    mean *= 0.5
    optimizer.zero_grad()
""")
    command = [sys.executable, "-m", "tensorwatch_guard", "run", "--writes", "exact", "train.py"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stderr
    what = " ".join(told.partition("WHAT")[2].partition("WHY")[0].split())
    assert {"PyTorch", "NumPy"} <= set(what.replace(",", " ").split())
    assert "train.py:8" in what
    assert "train.py:9" in what
