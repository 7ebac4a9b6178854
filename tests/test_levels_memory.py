"""``error`` for shared memory: an alias after it, a write at the look that saw it, stale values before backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tensorwatch_guard import GuardViolation, guard


def test_an_alias_is_raised_right_after_it_was_made() -> None:
    t = torch.zeros(4)
    with guard(alias="error", report=False), pytest.raises(GuardViolation, match=r"a = t\.numpy\(\)"):
        a = t.numpy()  # noqa: F841


@pytest.mark.parametrize("name", ["from_numpy", "as_tensor", "asarray"])
def test_an_alias_to_a_tensor_is_raised(name: str) -> None:
    array = np.zeros(4, dtype=np.float32)
    with guard(alias="error", report=False), pytest.raises(GuardViolation):
        getattr(torch, name)(array)


def test_a_copy_is_no_alias() -> None:
    with guard(alias="error", report=False):
        torch.tensor(np.zeros(4))
        torch.zeros(4).tolist()


def test_a_write_is_raised_at_the_next_boundary() -> None:
    w = torch.ones(4, requires_grad=True)
    t = torch.zeros(4)
    with guard(mutation="error", report=False) as g:
        a = t.numpy()
        a[1] = 5
        with pytest.raises(GuardViolation) as caught:
            (w * 2).sum().backward()
        assert w.grad is None
    finding = caught.value.findings[0]
    assert (finding.kind, finding.details["writer"], finding.details["exact"]) == ("mutation", "numpy", False)
    assert [other.role for other in finding.related] == ["shared-by"]
    assert g.report.mutations[0].id == finding.id


def test_a_write_is_raised_at_a_read_that_saw_it() -> None:
    t = torch.zeros(4)
    with guard(mutation="error", report=False):
        a = t.numpy()
        a[1] = 5
        with pytest.raises(GuardViolation):
            t[1].item()


def test_a_write_is_raised_by_check() -> None:
    t = torch.zeros(4)
    with guard(mutation="error", report=False) as g:
        a = t.numpy()
        assert g.check() == ()
        a[1] = 5
        with pytest.raises(GuardViolation):
            g.check()


def test_a_write_is_raised_before_the_optimizer_steps() -> None:
    w = torch.ones(4, requires_grad=True)
    w.grad = torch.ones(4)
    optimizer = torch.optim.SGD([w], lr=1.0)
    t = torch.zeros(4)
    with guard(mutation="error", report=False):
        a = t.numpy()
        a[1] = 5
        with pytest.raises(GuardViolation):
            optimizer.step()
    assert w.tolist() == [1.0] * 4


def test_a_write_that_only_the_exit_sees_is_raised_there() -> None:
    t = torch.zeros(4)
    with pytest.raises(GuardViolation, match="NumPy wrote"), guard(mutation="error", report=False):
        a = t.numpy()
        a[1] = 5


def test_a_write_by_torch_is_raised_too() -> None:
    t = torch.zeros(4)
    with pytest.raises(GuardViolation, match="PyTorch wrote"), guard(mutation="error", report=False):
        a = t.numpy()
        t.add_(1)
    assert a[0] == 1


def _stale(array: np.ndarray, data: torch.Tensor, weight: torch.Tensor) -> None:
    loss = (data * weight).sum()
    torch.equal(data, data.clone())  # a look after the forward: the write below is certainly later
    array[0] = 7
    loss.backward()


def test_a_stale_gradient_is_raised_before_backward() -> None:
    weight = torch.ones(4, requires_grad=True)
    array = np.ones(4, dtype=np.float32)
    data = torch.from_numpy(array)
    with guard(hazard="error", mutation="log", report=False) as g:
        data = torch.from_numpy(array)
        with pytest.raises(GuardViolation) as caught:
            _stale(array, data, weight)
    assert weight.grad is None
    assert caught.value.findings[0].details["type"] == "stale-gradient"
    assert {other.role for other in caught.value.findings[0].related} >= {"written-by", "shared-by"}
    assert len(g.report.hazards) == 1


def test_memory_taken_away_under_an_array_is_raised_before_it_happens() -> None:
    t = torch.zeros(4)
    with guard(hazard="error", report=False):
        a = t.numpy()
        with pytest.raises(GuardViolation) as caught:
            t.share_memory_()
        assert not t.is_shared()
        a[0] = 1
    assert t[0] == 1
    assert caught.value.findings[0].severity == "critical"


def test_a_guess_raises_nothing() -> None:
    weight = torch.ones(4, requires_grad=True)
    array = np.ones(4, dtype=np.float32)
    with guard(hazard="error", report=False) as g:
        data = torch.from_numpy(array)
        array[0] = 7  # before or after the product: the looks cannot tell
        loss = (data * weight).sum()
        loss.backward()
    assert g.violation is None
    assert not [hazard for hazard in g.report.hazards if hazard.details["certain"]]


def test_the_message_names_the_call_in_whose_course_it_was_written() -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = model.weight.detach().numpy()
    with guard(mutation="error", report=False), pytest.raises(GuardViolation) as caught:
        kept = model.weight.detach().numpy()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    assert kept is not None
    message = str(caught.value)
    assert "      optimizer.step()" in message
    assert "names the line" not in message
