"""A long program of short steps: its boundaries look now and then, and what begins late is found all the same.

That its line is found, too, is shown by ``cases/stale_late.py`` and ``cases/write_known_then_new.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from process_runs import SOURCE, launch
from tensorwatch_guard import GuardViolation, Report, guard

QUIET = 3000
"""Steps in which nothing is written: far more than what boundaries may spend at the start."""
MANY = 600
KNOWN = 4000
"""Steps of that case before something new is written."""
MOST_FOLLOWED = 80
EXAMPLES = Path(__file__).parent.parent / "examples"
AFTERWARDS = 20
"""Steps after the first find: graphs are searched for as long as their own share of time lasts, see ``hazards.py``."""


def trained(write: Any, mode: str = "check", **options: Any) -> Report:
    """The report on a training whose weights ``write`` may touch between forward and backward, or after the step."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(layers.parameters(), lr=1e-4)
    inputs = np.ones((2, 4), np.float32)
    with guard(report=False, writes=mode, **options) as g:
        shared = torch.from_numpy(inputs)
        for turn in range(QUIET + MANY):
            loss = layers(shared).square().sum()
            loss.item()
            if turn >= QUIET:
                write(turn, inputs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return g.report


def nothing(turn: int, inputs: Any) -> None:
    return None


def between_forward_and_backward(turn: int, inputs: Any) -> None:
    inputs += 1e-3


@pytest.mark.parametrize("mode", ["check", "auto"])
def test_a_gradient_that_comes_to_be_wrong_late_is_told(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    afterwards = []

    def until_it_was_told(turn: int, inputs: Any) -> None:
        if len(afterwards) < AFTERWARDS:
            inputs += 1e-3
            if caplog.records:
                afterwards.append(turn)

    report = trained(until_it_was_told, mode=mode)
    (hazard,) = report.hazards
    assert hazard.details["type"] == "stale-gradient"
    assert len(afterwards) == AFTERWARDS
    assert hazard.first_step < afterwards[0]  # on a busy machine some that were only perhaps stale come before the first alarm
    assert hazard.last_step == afterwards[-1]
    before = afterwards[0] - 1 - hazard.first_step
    told = hazard.count + hazard.details.get("perhaps", 0)
    assert AFTERWARDS + 1 <= told <= AFTERWARDS + 1 + before  # from the alarm on no backward is passed over
    assert hazard.site is not None
    assert hazard.site.source == "loss.backward()"


def test_once_something_was_found_every_boundary_looks() -> None:
    report = trained(between_forward_and_backward)
    first = min(mutation.first_step for mutation in report.mutations)
    last = max(mutation.last_step for mutation in report.mutations)
    assert sum(mutation.count for mutation in report.mutations) > last - first > 0
    assert all(hazard.details["certain"] for hazard in report.hazards)


NEVER_AGAIN = "import tensorwatch_guard.sharing.pace as pace; pace.PART = 1e-9"
"""A machine so slow that who rests does not look again: its share of time is never saved up."""


@pytest.mark.parametrize("machine", ["", NEVER_AGAIN], ids=["this machine", "a slow machine"])
def test_what_is_known_by_its_line_keeps_nobody_awake(machine: str, tmp_path: Path) -> None:
    """In a child of its own: coverage holds ``sys.settrace``, and no line could be named."""
    program, report = Path(__file__).parent / "cases" / "write_known_then_new.py", tmp_path / "report.json"
    command = f"{machine}\nimport sys\nfrom tensorwatch_guard.cli import main\nsys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", command, "run", "--json", str(report), str(program)]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stderr
    found = Report.load(report)
    known = next(mutation for mutation in found.mutations if mutation.first_step == 0)
    assert known.details["exact"]
    assert known.last_step > KNOWN  # it was seen to the end,
    assert known.count < known.last_step  # but not at each step
    assert len(found.mutations) == 2  # what began late is told, in sharp or in vague words
    assert any("passed over" in notice.text for notice in found.notices)


FOLLOWED_STEPS = """
import contextlib, io, sys
import train_digits
from tensorwatch_guard import guard
from torch.optim.optimizer import register_optimizer_step_post_hook

train_digits.EPOCHS, followed = 60, []
register_optimizer_step_post_hook(lambda *_: followed.append(sys.gettrace() is not None))
with guard(report=False), contextlib.redirect_stdout(io.StringIO()):
    train_digits.main()
print(sum(followed[len(followed) // 6:]))
"""


def test_no_line_is_followed_from_one_look_that_rests_to_the_next() -> None:
    """Of a thousand steps few run under a trace function: those in which a known interval is looked through once more."""
    paths = os.pathsep.join([str(SOURCE), str(EXAMPLES)])
    ended = launch([sys.executable, "-W", "ignore", "-c", FOLLOWED_STEPS], PYTHONPATH=paths)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) <= MOST_FOLLOWED


def test_a_guard_that_does_not_look_has_passed_over_nothing() -> None:
    report = trained(between_forward_and_backward, mode="off")
    assert not report.mutations
    assert not [notice for notice in report.notices if "passed over" in notice.text]


def test_a_nested_guard_that_asks_for_writes_gets_them() -> None:
    array = np.zeros(4, np.float32)
    parameter = torch.nn.Parameter(torch.ones(1))
    with guard(report=False, writes="off") as outer:
        (parameter * 2).sum().backward()
        with guard(report=False, writes="check") as inner:
            shared = torch.from_numpy(array)
            for _ in range(3):
                array += 1
                (parameter * 2).sum().backward()
    assert shared.shape == (4,)
    assert inner.report.mutations
    assert outer.report.mutations


def test_what_rests_tells_nothing_that_is_not_there() -> None:
    report = trained(nothing)
    assert not report.mutations
    assert not report.hazards


def test_a_fused_optimizer_is_never_taken_for_somebody_else() -> None:
    """It writes where no version counter sees it: only a look right after the step knows that it was torch."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-4, fused=True)
    with guard(report=False, writes="check") as g:
        for turn in range(QUIET + MANY):
            optimizer.zero_grad()
            layer(torch.ones(2, 4)).sum().backward()
            if turn == QUIET:
                kept = layer.weight.detach().numpy()
            optimizer.step()
    assert kept.shape == (1, 4)
    assert {mutation.details["writer"] for mutation in g.report.mutations} == {"torch"}


def test_who_wants_to_be_stopped_is_stopped_at_the_very_backward() -> None:
    turns = []

    def once(turn: int, inputs: Any) -> None:
        turns.append(turn)
        inputs += 1e-3

    with pytest.raises(GuardViolation):
        trained(once, hazard="error")
    assert turns == [QUIET]
