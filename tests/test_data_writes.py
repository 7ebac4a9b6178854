"""What goes through ``.data``: gradients it makes wrong, sharings it ends, and the property that hears of it."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensorwatch_guard import GuardViolation, guard


def _squares() -> tuple[nn.Parameter, torch.Tensor]:
    weight = nn.Parameter(torch.full((20,), 3.0))
    return weight, (weight * weight).sum()


def test_an_error_is_raised_before_the_gradient_is_wrong() -> None:
    weight, loss = _squares()
    with pytest.raises(GuardViolation, match="overwritten"), guard(hazard="error", report=False):
        weight, loss = _squares()
        weight.data.zero_()
        loss.backward()
    assert weight.grad is None
    assert loss.item() == 180


def test_memory_too_large_for_a_quick_comparison_is_compared_too() -> None:
    weight = nn.Parameter(torch.ones(100_000))
    with guard(report=False) as g:
        changed, restored = (weight * weight).sum(), None
        weight.data.mul_(2)
        changed.backward()
        restored = (weight * weight).sum()
        kept = weight.data.clone()
        weight.data.zero_()
        weight.data.copy_(kept)
        restored.backward()
    (hazard,) = g.report.hazards
    assert hazard.count == 1
    assert hazard.details["certain"]
    assert hazard.details["through"] == ".data"


def test_a_write_of_another_kind_under_no_grad_is_left_to_pytorch() -> None:
    with guard(report=False) as g:
        weight, loss = _squares()
        with torch.no_grad():
            weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    assert not g.report.hazards


def test_training_by_hand_through_data_is_quiet() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    with guard(report=False) as g:
        for _ in range(3):
            loss = model(torch.ones(2, 3)).pow(2).mean()
            loss.backward()
            for parameter in model.parameters():
                parameter.data.add_(parameter.grad.data, alpha=-0.1)  # type: ignore[union-attr]
                parameter.grad.data.zero_()  # type: ignore[union-attr]
    assert not g.report.hazards


def test_off_remembers_nothing() -> None:
    with guard(writes="off", report=False) as g:
        weight, loss = _squares()
        weight.data.zero_()
        loss.backward()
    assert not g.report.hazards


# -- severed sharing -----------------------------------------------------------------------------------------------------


def _converted(tensor: torch.Tensor) -> None:
    tensor.data = tensor.data.double()


ENDS: dict[str, Any] = {
    "double": lambda module: module.double(),
    "to": lambda module: module.to(torch.float16),
    "half": lambda module: module.half(),
    "data": lambda module: _converted(module.weight),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_array_that_no_longer_follows_is_told_with_the_line(end: str) -> None:
    module = nn.Linear(3, 3)
    with guard(report=False) as g:
        held = module.weight.detach().numpy()
        ENDS[end](module)
    (alias,) = g.report.aliases
    assert alias.rule == "TWG306"
    assert (alias.details["severed"], alias.details["live"]) == (1, 0)
    (cut,) = [other for other in alias.related if other.role == "severed-by"]
    assert cut.site is not None
    assert "module" in (cut.site.source or "") or "tensor" in (cut.site.source or "")
    assert not g.report.hazards
    del held


def test_the_array_that_a_tensor_was_made_of_is_told_too() -> None:
    source = np.ones(2000, dtype=np.float32)
    with guard(report=False) as g:
        weight = nn.Parameter(torch.from_numpy(source))
        weight.data = torch.zeros(2000)
    (alias,) = g.report.aliases
    assert alias.details["severed"] == 1
    assert source[0] == 1


MOVES: dict[str, Any] = {
    "tensor": lambda tensor: tensor.share_memory_(),
    "module": lambda tensor: nn.ParameterList([nn.Parameter(tensor)]).share_memory(),
}


@pytest.mark.parametrize("move", MOVES)
def test_memory_that_goes_to_other_processes_follows_the_array_no_longer(move: str) -> None:
    source = np.ones(20, dtype=np.float32)
    with guard(report=False) as g:
        tensor = torch.from_numpy(source)
        MOVES[move](tensor)
        source[0] = 2
    (alias,) = g.report.aliases
    assert (alias.rule, alias.details["severed"], alias.details["live"]) == ("TWG306", 1, 0)
    assert not g.report.mutations
    assert not g.report.hazards
    assert tensor[0] == 1


def test_nobody_is_told_of_a_sharing_that_nobody_holds() -> None:
    tensor, other = torch.zeros(30), torch.zeros(30)
    with guard(report=False) as g:
        tensor.numpy().sum()
        tensor.data = torch.ones(30)
        held, second = other.numpy(), other.view(5, 6)
        other.data = torch.ones(30)  # ``second`` still has the old memory
        tensor.data = tensor.data
    assert not any("severed" in alias.details for alias in g.report.aliases)
    assert held[0] == second[0, 0] == 0


# -- the property --------------------------------------------------------------------------------------------------------


def test_the_descriptor_is_pytorchs_own_outside() -> None:
    with guard(report=False):
        inside = inspect.getattr_static(torch.Tensor, "data")
        assert inside.__objclass__ is torch._C.TensorBase
    assert "data" not in vars(torch.Tensor)


def test_somebodys_own_descriptor_stays_and_is_asked() -> None:
    asked = []
    original = inspect.getattr_static(torch.Tensor, "data")

    def get(tensor: torch.Tensor) -> Any:
        asked.append(tensor.shape)
        return original.__get__(tensor)

    own = property(get, original.__set__, original.__delete__)
    torch.Tensor.data = own  # type: ignore[method-assign, assignment]
    try:
        with guard(report=False):
            assert torch.ones(2).data.sum() == 2
        assert vars(torch.Tensor)["data"] is own
    finally:
        del torch.Tensor.data
    assert asked


def test_a_property_that_somebody_saved_and_put_back_is_taken_away() -> None:
    with guard(report=False):
        saved = vars(torch.Tensor)["data"]
    torch.Tensor.data = saved  # type: ignore[method-assign]
    assert torch.ones(2).data.sum() == 2  # inert
    with guard(report=False):
        assert vars(torch.Tensor)["data"] is not saved
    assert "data" not in vars(torch.Tensor)
