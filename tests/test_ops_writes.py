"""Writes that version counters miss, to shared memory: the ops layer names the line, not an interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.simulate import simulated_accelerator


def exact(g: Any) -> list[tuple[str, bool, int]]:
    return [
        (one.site.source, one.details["exact"], one.count) for one in g.report.findings if one.kind == "mutation"
    ]


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}], ids=["fused", "foreach"])
def test_an_optimizers_step_is_the_line(options: dict[str, bool]) -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.Adam([weight], lr=0.1, **options)
    with guard(ops=True, report=False, writes="check") as g:
        array = weight.detach().numpy()
        for _ in range(2):
            weight.grad = torch.ones(4)
            optimizer.step()
    assert exact(g) == [("optimizer.step()", True, 2)]
    (found,) = [one for one in g.report.findings if one.kind == "mutation"]
    assert found.details["writer"] == "torch"
    assert found.details["seen_by"] == ["ops"]
    assert found.threads == ("MainThread",)
    assert array[0] != 1


def test_statistics_of_batch_norm_are_the_modules_line() -> None:
    norm = torch.nn.BatchNorm1d(3)
    with guard(ops=True, report=False, writes="check") as g:
        mean = norm.running_mean.numpy()  # type: ignore[union-attr]
        norm(torch.randn(5, 3))
        norm.eval()(torch.randn(5, 3))
    assert exact(g) == [("norm(torch.randn(5, 3))", True, 1)]
    assert mean.any()


def test_what_numpy_wrote_before_the_step_stays_numpys() -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
    with guard(ops=True, report=False, writes="check") as g:
        array = weight.detach().numpy()
        weight.grad = torch.ones(4)
        array[0] = 5
        optimizer.step()
    writers = [one.details["writer"] for one in g.report.findings if one.kind == "mutation"]
    assert writers == ["numpy", "torch"]


def test_a_step_that_changes_nothing_shared_is_no_write() -> None:
    weight, other = torch.nn.Parameter(torch.ones(4)), torch.ones(4)
    optimizer = torch.optim.SGD([weight], lr=0.1, foreach=True)
    with guard(ops=True, report=False, writes="check") as g:
        array = other.numpy()
        weight.grad = torch.ones(4)
        optimizer.step()
    assert exact(g) == []
    assert array.all()


def test_a_copy_from_a_device_moves_the_counter_of_its_own_storage_alone() -> None:
    """Its bump comes after this layer has looked; another tensor of the same array has a counter of its own."""
    shared = np.zeros(4, np.float32)
    with simulated_accelerator("cuda"):
        far = torch.ones(4, device="cuda")
        with guard(ops=True, report=False, writes="check") as g:
            one, other = torch.from_numpy(shared), torch.from_numpy(shared)
            torch._foreach_copy_([one], [far])
            g.check()
            shared += 1
            g.check()
    writers = [found.details["writer"] for found in g.report.mutations]
    assert writers == ["torch", "numpy"]
    assert other[0] == 2
