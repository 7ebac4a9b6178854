"""A state dict that is used after it has followed the live weights is told; one that is only kept is not."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from tensorwatch_guard import GuardViolation, guard


def _made(**options: Any) -> tuple[nn.Module, Any]:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, **options)


def _step(model: nn.Module, optimizer: Any) -> None:
    model(torch.ones(2, 3)).pow(2).sum().backward()
    optimizer.step()


USES = {
    "load_state_dict": lambda model, state: model.load_state_dict(state),
    "into another": lambda model, state: copy.deepcopy(model).load_state_dict(state),
    "by name": lambda model, state: model.load_state_dict(state_dict=state),
    "save": lambda model, state: torch.save(state, io.BytesIO()),
    "in a checkpoint": lambda model, state: torch.save({"epoch": 3, "states": [state]}, io.BytesIO()),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("fused", [False, True], ids=["counted", "fused"])
def test_a_state_that_followed_is_told_with_its_story(use: str, fused: bool) -> None:
    model, optimizer = _made(fused=fused)
    with guard(report=False) as g:
        best = model.state_dict()
        _step(model, optimizer)
        USES[use](model, best)
        USES[use](model, best)
    (alias,), (mutation,), (hazard,) = g.report.aliases, g.report.mutations, g.report.hazards
    assert (alias.op, alias.details["live"], alias.rule) == ("Module.state_dict", 0, "TWG305")
    assert (mutation.details["writer"], mutation.details["exact"], mutation.severity) == ("torch", True, "error")
    assert (hazard.details["type"], hazard.rule) == ("followed-state", "TWG506")
    assert {other.id for other in hazard.related} == {alias.id, mutation.id}


def test_an_error_is_raised_before_anything_is_loaded() -> None:
    model, optimizer = _made()
    other = copy.deepcopy(model)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(GuardViolation), guard(hazard="error", report=False):
        best = model.state_dict()
        _step(model, optimizer)
        other.load_state_dict(best)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("fused", [False, True], ids=["counted", "fused"])
def test_a_state_that_many_steps_have_left_alone_is_not_forgotten(fused: bool) -> None:
    frozen, first = _made(fused=fused)
    trained, optimizer = _made()
    with guard(report=False) as g:
        kept = frozen.state_dict()
        for _ in range(200):
            _step(trained, optimizer)
        _step(frozen, first)
        torch.save(kept, io.BytesIO())
    (mutation,), (hazard,) = g.report.mutations, g.report.hazards
    assert hazard.rule == "TWG506"
    assert mutation.details["exact"] is fused  # a step whose writes no counter tells is looked at by itself


def test_written_elsewhere_than_in_a_step_is_an_interval() -> None:
    model, _ = _made()
    with guard(report=False) as g:
        best = model.state_dict()
        with torch.no_grad():
            model[0].weight.mul_(2)  # type: ignore[index, union-attr, operator]
        torch.save(best, io.BytesIO())
    (mutation,) = g.report.mutations
    assert not mutation.details["exact"]
    assert mutation.details["region"] == "0.weight"


def test_a_state_that_is_loaded_into_its_own_module_is_used_again_only_after_a_write() -> None:
    model, optimizer = _made()
    with guard(report=False) as g:
        first = model.state_dict()
        model.load_state_dict(first)
        model.load_state_dict(first)
        quiet = g.report.hazards
        _step(model, optimizer)
        model.load_state_dict(first)
    assert not quiet
    assert len(g.report.hazards) == 1


def test_everyday_uses_are_quiet() -> None:
    model, optimizer = _made()
    with guard(report=False) as g:
        kept = model.state_dict()
        safe = copy.deepcopy(kept)
        for _ in range(3):
            checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(checkpoint, io.BytesIO())
            _step(model, optimizer)
        replaced = model.state_dict()
        _step(model, optimizer)
        replaced.update(safe)
        model.load_state_dict(replaced)
    assert not g.report.mutations
    assert not g.report.hazards
    assert not g.report.aliases
    assert len(kept) == 4


def test_nothing_is_kept_alive_and_off_remembers_nothing() -> None:
    model, optimizer = _made()
    with guard(report=False):
        state = model.state_dict()
        gone = weakref.ref(state)
        del state
        gc.collect()
        assert gone() is None
    with guard(writes="off", report=False) as g:
        best = model.state_dict()
        _step(model, optimizer)
        model.load_state_dict(best)
    assert not g.report.hazards


def test_the_best_of_many_kept_states_is_known() -> None:
    model, optimizer = _made()
    with guard(report=False) as g:
        history = []
        for _ in range(100):
            history.append(model.state_dict())
            _step(model, optimizer)
        model.load_state_dict(history[2])
    (hazard,) = g.report.hazards
    assert hazard.details["type"] == "followed-state"
    assert not [spot for spot in g.report.blind_spots if "state_dict" in spot]


def test_states_that_are_forgotten_are_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorwatch_guard.sharing.states.MOST_TENSORS", 40)
    model, optimizer = _made()
    with guard(report=False) as g:
        history = [model.state_dict() for _ in range(25)]  # of four tensors each
        _step(model, optimizer)
        model.load_state_dict(history[0])
        assert not g.report.hazards
        model.load_state_dict(history[24])
    assert len(g.report.hazards) == 1
    assert any(spot.startswith("15 state_dicts") for spot in g.report.blind_spots)


OWN_DICTS = {
    "a comprehension": lambda state: {name: value for name, value in state.items()},  # noqa: C416
    "moved to where they are": lambda state: {name: value.cpu() for name, value in state.items()},
    "a shallow copy": copy.copy,
    "in a checkpoint": lambda state: {"epoch": 1, "model": dict(state)},
    "some of it": lambda state: {name: value for name, value in state.items() if name.startswith("0.")},
}


@pytest.mark.parametrize("kind", OWN_DICTS)
@pytest.mark.parametrize("fused", [False, True], ids=["counted", "fused"])
def test_a_dict_of_ones_own_over_the_same_tensors_is_told(kind: str, fused: bool) -> None:
    model, optimizer = _made(fused=fused)
    with guard(report=False) as g:
        for epoch in range(4):
            taken = model.state_dict()
            if epoch == 1:
                best = OWN_DICTS[kind](taken)
            del taken
            _step(model, optimizer)
        model.load_state_dict(best.get("model", best), strict=False)
    (hazard,), (mutation,) = g.report.hazards, g.report.mutations
    assert hazard.details["type"] == "followed-state"
    assert mutation.first_step == 1 or fused
    assert {other.role for other in hazard.related} == {"written-by", "shared-by"}


def test_a_dict_of_ones_own_that_holds_copies_or_the_newest_is_quiet() -> None:
    model, optimizer = _made()
    with guard(report=False) as g:
        for _ in range(4):
            copied = {name: value.clone() for name, value in model.state_dict().items()}
            _step(model, optimizer)
        model.load_state_dict(copied)
        newest = {name: value for name, value in model.state_dict().items()}  # noqa: C416
        model.load_state_dict(newest)
        torch.save(newest, io.BytesIO())
        _step(model, optimizer)
        model.load_state_dict({**model.state_dict(), "1.bias": torch.zeros(1)})
    assert not g.report.hazards
    assert not g.report.mutations


def test_copies_are_not_taken_for_the_live_weights() -> None:
    """They lie where the tensors of a state that was copied before lay, and a fused step moves no counter."""
    with guard(report=False) as g:
        for _ in range(40):
            net = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Linear(6, 1))
            optimizer = torch.optim.Adam(net.parameters(), fused=True)
            best = None
            for _ in range(4):
                net(torch.ones(8, 6)).square().mean().backward()
                optimizer.step()
                best = copy.deepcopy(net.state_dict())
            net.load_state_dict(best)
    assert not g.report.hazards
