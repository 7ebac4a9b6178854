"""What transfers say together: to and fro, a constant again, filled on the host and moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.report.hints import hints
from tensorwatch_guard.simulate import simulated_accelerator


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


def patterns(g: Any) -> dict[str, str | None]:
    return {one.site.source: one.details.get("pattern") for one in g.report.findings if one.kind == "transfer"}


def test_memory_that_goes_to_the_host_and_back() -> None:
    x = torch.ones(4, device="cuda")
    with guard(report=False) as g:
        for _ in range(2):
            host = (x + 1).cpu()
            host.to("cuda")
            g.step()
    assert patterns(g) == {"(x + 1).cpu()": "ping-pong", 'host.to("cuda")': "ping-pong"}
    assert [hint.rule for hint in hints(g.report)] == ["TWG702"]


def test_a_result_that_is_new_on_the_device_is_no_ping_pong() -> None:
    batch = torch.ones(4)
    with guard(report=False) as g:
        for _ in range(2):
            moved = batch.clone().to("cuda")
            moved.add_(1)
            moved.cpu()
            g.step()
    assert set(patterns(g).values()) == {None}


def test_the_same_values_in_every_step_are_a_constant() -> None:
    scale = torch.rand(5)
    with guard(report=False) as g:
        for step in range(4):
            torch.tensor([0.5, 0.25], device="cuda")
            scale.to("cuda")
            torch.tensor([float(step)], device="cuda")
            torch.tensor([float(step)]).to("cuda")
            g.step()
    assert patterns(g) == {
        'torch.tensor([0.5, 0.25], device="cuda")': "constant",
        'scale.to("cuda")': "constant",
        'torch.tensor([float(step)], device="cuda")': None,
        'torch.tensor([float(step)]).to("cuda")': None,
    }


def test_a_constant_that_changes_is_none_any_more() -> None:
    large = torch.rand(1000)
    with guard(report=False) as g:
        for step in range(5):
            if step == 4:
                large.add_(1)
            large.to("cuda")
            g.step()
    assert patterns(g) == {'large.to("cuda")': None}


def test_filled_on_the_host_and_moved() -> None:
    with guard(report=False) as g:
        torch.zeros(3).to("cuda")
        noise = torch.randn(30, 30)
        noise.cuda()
        batch = torch.ones(3)
        batch = torch.stack([batch, batch])
        batch.cuda()
    assert patterns(g) == {
        'torch.zeros(3).to("cuda")': "fill-then-move",
        "noise.cuda()": "fill-then-move",
        "batch.cuda()": None,
    }
