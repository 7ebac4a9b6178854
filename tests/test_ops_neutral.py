"""Under the ops layer operations compute, count versions, warn and refuse as without it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from tensorwatch_guard import guard

Call = Callable[[list[torch.Tensor]], object]

CALLS: dict[str, Call] = {
    "add_": lambda t: torch._foreach_add_(t, 1.0),
    "add_ list": lambda t: torch._foreach_add_(t, t),
    "add_ tensor": lambda t: torch._foreach_add_(t, torch.tensor(2.0)),
    "mul_ tensor": lambda t: torch._foreach_mul_(t, torch.tensor(2.0)),
    "addcdiv_": lambda t: torch._foreach_addcdiv_(t, t, t, 1.0),
    "lerp_": lambda t: torch._foreach_lerp_(t, t, 0.5),
    "copy_": lambda t: torch._foreach_copy_(t, [one * 2 for one in t]),
    "zero_": torch._foreach_zero_,
    "twice the same": lambda t: torch._foreach_add_([t[0], t[0]], 1.0),
    "no change of place": lambda t: torch._foreach_add(t, 1.0),
    "norm": torch._foreach_norm,
    "single": lambda t: t[0].add_(1).mul_(2),
    "resize": lambda t: t[0].resize_(8),
    "out": lambda t: torch.add(t[0], 1, out=t[1]),
    "batch norm": lambda t: torch.nn.functional.batch_norm(torch.ones(3, 2), t[0], t[1], training=True),
    "in inference mode": lambda t: torch.inference_mode()(torch._foreach_add_)(t, 1.0),
}


def outcome(call: Call, context: Any) -> tuple[list[int], list[list[float]]]:
    tensors = [torch.ones(2), torch.full((2,), 2.0)]
    with context:
        call(tensors)
    return [one._version for one in tensors], [one[:2].tolist() for one in tensors]


@pytest.mark.parametrize("name", CALLS)
def test_versions_and_values_are_those_of_the_bare_call(name: str) -> None:
    bare = outcome(CALLS[name], nullcontext())
    assert outcome(CALLS[name], guard(ops=True, report=False)) == bare


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=["plain", "foreach", "fused"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
def test_optimizers_step_as_before(kind: Any, options: dict[str, bool]) -> None:
    def steps(context: Any) -> list[Any]:
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(3)) for _ in range(2)]
        optimizer = kind(weights, lr=0.1, **options)
        with context:
            for _ in range(3):
                optimizer.zero_grad()
                sum((weight**2).sum() for weight in weights).backward()  # type: ignore[union-attr]
                optimizer.step()
        return [(weight._version, weight.tolist()) for weight in weights]

    assert steps(guard(ops=True, report=False)) == steps(nullcontext())


def test_a_stale_value_is_refused_as_before() -> None:
    """The bump that a mode loses is what autograd's own check lives on."""

    def train(context: Any) -> None:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, foreach=True)
        with context:
            first, second = model(torch.ones(1, 2)).sum(), model(torch.ones(1, 2)).sum()
            first.backward()
            optimizer.step()
            second.backward()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        train(nullcontext())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        train(guard(ops=True, report=False))


def test_warnings_keep_their_place() -> None:
    with guard(ops=True, report=False), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.add(torch.ones(2), 1, out=torch.ones(3))
    assert [one.filename for one in told] == [__file__]


class Named(torch.Tensor):
    calls: list[str] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.calls.append(str(getattr(func, "__name__", func)))
        return super().__torch_function__(func, types, args, kwargs or {})


class Counting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(str(getattr(func, "__name__", func)))
        return func(*args, **(kwargs or {}))


def test_subclasses_and_function_modes_are_asked_what_they_were_asked_before() -> None:
    def asked(context: Any) -> tuple[list[str], list[str]]:
        Named.calls.clear()
        weight = torch.ones(3).as_subclass(Named).requires_grad_()
        with context, Counting() as mode:
            loss = torch.cat([weight * 2, weight]).sum()
            loss.backward()
        return list(Named.calls), mode.calls

    bare = asked(nullcontext())
    assert bare[0]
    assert bare[1]
    assert asked(guard(ops=True, report=False)) == bare


def test_numbers_that_stand_for_tensors_are_taken_back() -> None:
    """TorchScript keeps ``3.0`` as a tensor that stands for a number, and looks at it while it prints a graph."""

    def graph(context: Any) -> str:
        with context, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(lambda x: x * x.sum().item(), torch.ones(3))
            return str(traced.graph).partition("#")[0]

    assert graph(guard(ops=True, report=False)) == graph(nullcontext())


def test_exceptions_are_the_operations_own() -> None:
    with guard(ops=True, report=False), pytest.raises(RuntimeError, match="size of tensor a"):
        torch.ones(2) + torch.ones(3)
