"""Late copies: an asynchronous copy is not done when the call returns, and a program that does not wait sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda", late_copies=True):
        yield


def pinned(*values: float) -> torch.Tensor:
    return torch.tensor([float(value) for value in values]).pin_memory()


def test_a_source_rewritten_in_flight_arrives_rewritten() -> None:
    source = pinned(1, 2, 3)
    there = source.to("cuda", non_blocking=True)
    source.fill_(9)
    assert (there + 0).tolist() == [9, 9, 9]


def test_an_operation_on_the_target_needs_the_copy() -> None:
    source = pinned(1, 2, 3)
    there = source.to("cuda", non_blocking=True)
    doubled = there * 2
    source.fill_(9)
    assert doubled.tolist() == [2, 4, 6]
    assert there.tolist() == [1, 2, 3]


def test_another_operation_does_not() -> None:
    source, other = pinned(1, 2), torch.ones(2, device="cuda")
    there = torch.zeros(2, device="cuda")
    there.copy_(source, non_blocking=True)
    other.add_(1)
    source.fill_(7)
    assert there.tolist() == [7, 7]


WAYS: dict[str, Callable[[], object]] = {
    "torch.cuda.synchronize": lambda: torch.cuda.synchronize(),  # noqa: PLW0108 -- replaced while simulated
    "stream.synchronize": lambda: torch.cuda.current_stream().synchronize(),
    "event.synchronize": lambda: _recorded().synchronize(),
    "item": lambda: torch.ones(1, device="cuda").item(),
    "blocking copy": lambda: torch.ones(1).cuda(),
    "pageable copy": lambda: torch.ones(1).to("cuda", non_blocking=True),
    "polling": lambda: _poll(),  # noqa: PLW0108 -- defined below
}


def _recorded() -> torch.cuda.Event:
    event = torch.cuda.Event()
    event.record()
    return event


def _poll() -> None:
    event = _recorded()
    turns = 0
    while not event.query():
        turns += 1
    assert turns == 1


def test_a_result_read_too_early_is_old() -> None:
    there = torch.tensor([1.0, 2.0], device="cuda")
    here = pinned(0, 0)
    here.copy_(there, non_blocking=True)
    assert here.tolist() == [0, 0]
    torch.cuda.synchronize()
    assert here.tolist() == [1, 2]


@pytest.mark.parametrize("name", list(WAYS))
def test_waiting_completes_the_copy(name: str) -> None:
    there = torch.tensor([1.0, 2.0], device="cuda")
    here = pinned(0, 0)
    here.copy_(there, non_blocking=True)
    assert here.tolist() == [0, 0]
    WAYS[name]()
    assert here.tolist() == [1, 2]


def test_the_values_are_those_at_the_call() -> None:
    there = torch.tensor([1.0, 2.0], device="cuda")
    here = pinned(0, 0)
    here.copy_(there, non_blocking=True)
    there.zero_()
    torch.cuda.synchronize()
    assert here.tolist() == [1, 2]


def test_to_cpu_without_blocking_is_late_too() -> None:
    there = torch.ones(4, device="cuda")
    here = there.to("cpu", non_blocking=True)
    assert here.is_pinned()
    here.fill_(5)
    torch.cuda.synchronize()
    assert here.tolist() == [1, 1, 1, 1]


def test_copies_that_must_block_are_not_late() -> None:
    there = torch.tensor([1.0, 2.0], device="cuda")
    pageable = torch.zeros(2)
    pageable.copy_(there, non_blocking=True)
    assert pageable.tolist() == [1, 2]
    source = torch.tensor([3.0, 4.0])
    arrived = source.to("cuda", non_blocking=True)
    source.fill_(9)
    assert arrived.tolist() == [3, 4]
    assert pinned(1, 2).cuda().tolist() == [1, 2]
    wide = torch.arange(8.0).pin_memory()[::2]
    strided = wide.to("cuda", non_blocking=True)
    wide.fill_(9)
    assert strided.tolist() == [0, 2, 4, 6]


def test_leaving_completes_what_is_in_flight() -> None:
    # The module's accelerator is left and entered again around a copy, in a process of its own.
    import subprocess
    import sys

    code = (
        "import torch; from tensorwatch_guard.simulate import simulated_accelerator\n"
        "with simulated_accelerator('cuda', late_copies=True):\n"
        "    here = torch.zeros(2).pin_memory(); here.copy_(torch.ones(2, device='cuda'), non_blocking=True)\n"
        "    assert here.tolist() == [0, 0]\n"
        "assert here.tolist() == [1, 1]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_training_loop_that_waits_rightly_is_not_disturbed() -> None:
    torch.manual_seed(0)
    expected = _train("cpu")
    torch.manual_seed(0)
    assert torch.equal(_train("cuda"), expected)


def _train(device: str) -> torch.Tensor:
    model = torch.nn.Linear(4, 2).to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(5):
        x = torch.randn(3, 4).pin_memory().to(device, non_blocking=True)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return model.weight.detach().cpu()
