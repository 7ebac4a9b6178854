"""Hundreds of short steps alike: most are only counted, and what is new among them is seen all the same."""

from __future__ import annotations

import io
import threading
import traceback
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensorwatch_guard import guard

MANY = 300


def _made(kind: Any = torch.optim.SGD) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(3, 1)
    return model, kind(model.parameters(), lr=0.01)


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_each_step_is_counted(kind: Any) -> None:
    model, optimizer = _made(kind)
    with guard(report=False) as g:
        for steps in (MANY, MANY + 1, 7):
            _train(model, optimizer, steps)
            torch.ones(1).item()
    (read,) = [found for found in g.report.reads if not found.details.get("of")]
    assert (read.first_step, read.last_step) == (MANY, 2 * MANY + 8)


def test_reads_of_a_step_belong_to_the_line_that_calls_it() -> None:
    model, optimizer = _made(torch.optim.Adam)
    with guard(report=False) as g:
        for turn in range(2 * MANY):
            model(torch.ones(2, 3)).sum().backward()
            if turn % 3:
                optimizer.step()
            else:
                optimizer.step()
    often, seldom = sorted((found.count for found in g.report.reads), reverse=True)
    assert often == 2 * seldom


def test_an_optimizer_that_two_threads_share_is_counted_in_both() -> None:
    model, optimizer = _made()
    turns = threading.Barrier(2)

    def work() -> None:
        for _ in range(MANY):
            turns.wait()
            optimizer.step()

    with guard(report=False) as g:
        _train(model, optimizer, MANY)
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        torch.ones(1).item()
    (read,) = g.report.reads
    assert read.first_step == 3 * MANY


def test_memory_that_is_shared_among_them_is_written_by_pytorch() -> None:
    model, optimizer = _made()
    with guard(report=False) as g:
        _train(model, optimizer, MANY)
        kept = model.weight.detach().numpy()  # type: ignore[operator, union-attr]
        _train(model, optimizer, 2)
        assert kept.size == 3
    (mutation,) = g.report.mutations
    assert mutation.details["writer"] == "torch"
    assert mutation.first_step == MANY


def test_a_state_that_is_taken_among_them_is_known_to_follow() -> None:
    model, optimizer = _made()
    with guard(report=False) as g:
        _train(model, optimizer, MANY)
        best = model.state_dict()
        _train(model, optimizer, 1)
        torch.save(best, io.BytesIO())
    (hazard,) = g.report.hazards
    assert hazard.rule == "TWG506"


def test_a_method_that_is_put_there_among_them_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = _made(torch.optim.Adam)
    asked = []

    def item(tensor: torch.Tensor) -> Any:
        asked.append(tensor)
        return original(tensor)

    with guard(report=False):
        _train(model, optimizer, MANY)
        original = torch.Tensor.item
        with monkeypatch.context() as patched:
            patched.setattr(torch.Tensor, "item", item)
            _train(model, optimizer, 1)
    assert asked


def _failing() -> list[str]:
    """Files of the frames through which a backward's error went."""
    try:
        torch.ones(2, requires_grad=True).backward()
    except RuntimeError as error:
        return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    raise AssertionError


def test_a_backward_is_pytorchs_own_until_memory_is_shared() -> None:
    bare = _failing()
    with guard(report=False) as g:
        assert _failing() == bare
        inputs = np.ones((2, 3), np.float32)
        shared = torch.from_numpy(inputs)
        layer = nn.Linear(3, 1)
        loss = layer(shared).square().sum()
        inputs *= 2
        loss.backward()
    (hazard,) = g.report.hazards
    assert hazard.rule in {"TWG501", "TWG502"}  # its line is known, or not under coverage
