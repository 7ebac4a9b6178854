"""What an optimizer reads of its own step counts is counted to the last, also where the counting itself is skipped."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from torch.overrides import TorchFunctionMode

from tensorwatch_guard import guard

STEPS = 400


def _optimizer(parameters: int, **options: Any) -> torch.optim.Optimizer:
    made = [torch.ones(2, requires_grad=True) for _ in range(parameters)]
    for one in made:
        one.grad = torch.ones(2)
    return torch.optim.Adam(made, **options)


def _read(report: Any) -> int:
    return sum(found.count for found in report.reads if found.details.get("of"))


@pytest.mark.parametrize("foreach", [False, True])
def test_each_read_of_many_steps_is_counted(foreach: bool) -> None:
    optimizer = _optimizer(3, foreach=foreach)
    with guard(report=False) as g:
        optimizer.step()
        first = _read(g.report)
        for _ in range(STEPS - 1):
            optimizer.step()
    assert first >= 3
    assert _read(g.report) == first * STEPS


def test_two_optimizers_in_turn_are_told_apart() -> None:
    one, other = _optimizer(3), _optimizer(5)
    with guard(report=False) as g:
        one.step()
        first = _read(g.report)
        other.step()
        second = _read(g.report) - first
        for _ in range(STEPS - 1):
            one.step()
            other.step()
    assert _read(g.report) == STEPS * (first + second)
    assert first != second


def test_optimizers_of_several_threads_are_counted_each() -> None:
    optimizers = [_optimizer(2), _optimizer(2)]
    turn = threading.Barrier(2)

    def work(optimizer: torch.optim.Optimizer) -> None:
        for _ in range(STEPS):
            turn.wait()
            optimizer.step()

    with guard(report=False) as g:
        optimizers[0].step()
        first = _read(g.report)
        threads = [threading.Thread(target=work, args=(one,)) for one in optimizers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert _read(g.report) == first * (2 * STEPS + 1)


class _Passing(TorchFunctionMode):
    """Hands every call on."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


def test_steps_under_a_function_mode_say_nothing_of_those_after_it() -> None:
    optimizer = _optimizer(2)
    with guard(report=False) as g:
        optimizer.step()
        first = _read(g.report)
        for mode in (nullcontext(), _Passing(), nullcontext()):
            with mode:
                for _ in range(STEPS):
                    optimizer.step()
    assert sum(found.count for found in g.report.reads) == first * (3 * STEPS + 1)


def test_more_parameters_are_noticed() -> None:
    optimizer = _optimizer(2)
    with guard(report=False) as g:
        optimizer.step()
        first = _read(g.report)
        for _ in range(STEPS):
            optimizer.step()
        before = _read(g.report)
        for one in [torch.ones(2, requires_grad=True) for _ in range(2)]:
            one.grad = torch.ones(2)
            optimizer.add_param_group({"params": [one]})
        for _ in range(STEPS):
            optimizer.step()
    assert before == first * (STEPS + 1)
    assert before + first * STEPS < _read(g.report) <= before + 2 * first * STEPS


def test_pytorchs_function_is_its_own_again() -> None:
    module: Any = __import__("torch.optim.optimizer", fromlist=["_get_value"])
    before, names = module._get_value.__code__, set(vars(torch.Tensor))
    optimizer = _optimizer(2)
    with guard(report=False):
        for _ in range(STEPS):
            optimizer.step()
    assert module._get_value.__code__ is before
    assert set(vars(torch.Tensor)) == names


def test_a_compiled_step_beside_them_is_compiled_once() -> None:
    def graphs(*, guarded: bool) -> tuple[int, list[float]]:
        torch._dynamo.reset()
        counters.clear()
        eager, compiled = _optimizer(3), _optimizer(3)
        step = torch.compile(lambda: compiled.step(), backend="eager")  # noqa: PLW0108 - as a program has it
        with guard(report=False) if guarded else nullcontext():
            for _ in range(150):
                eager.step()
                step()
        return counters["stats"]["unique_graphs"], compiled.param_groups[0]["params"][0].tolist()

    assert graphs(guarded=True) == graphs(guarded=False)


@pytest.mark.parametrize("on_top", [False, True])
def test_a_method_that_somebody_put_there_is_asked(monkeypatch: pytest.MonkeyPatch, on_top: bool) -> None:
    asked: list[Any] = []

    def patch() -> None:
        own = torch.Tensor.item
        monkeypatch.setattr(torch.Tensor, "item", lambda self: asked.append(self) or own(self))

    optimizer = _optimizer(3)
    if not on_top:
        patch()
    with guard(report=False):
        if on_top:
            patch()
        for _ in range(100):
            optimizer.step()
        if on_top:
            monkeypatch.undo()
    assert asked
    assert len(asked) % 300 == 0
