"""Conversions that PyTorch refuses: a finding with the remedy; the exception is the one that comes without a guard."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.simulate import simulated_accelerator


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


def needs_gradient() -> torch.Tensor:
    return torch.ones(3, requires_grad=True)


# name: (call, operation, words of the remedy)
REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "numpy on a device": (lambda: torch.ones(3, device="cuda").numpy(), "Tensor.numpy", ".cpu()"),
    "asarray on a device": (lambda: np.asarray(torch.ones(3, device="cuda")), "Tensor.__array__", ".cpu()"),
    "numpy with a gradient": (lambda: needs_gradient().numpy(), "Tensor.numpy", ".detach()"),
    "asarray with a gradient": (lambda: np.asarray(needs_gradient()), "Tensor.__array__", ".detach()"),
    "a type NumPy lacks": (lambda: torch.ones(2, dtype=torch.bfloat16).numpy(), "Tensor.numpy", ".float()"),
    "a conjugate": (lambda: torch.ones(2, dtype=torch.complex64).conj().numpy(), "Tensor.numpy", "resolve_conj"),
    "a sparse one": (lambda: torch.eye(2).to_sparse().numpy(), "Tensor.numpy", ".to_dense()"),
    "item of many": (lambda: torch.ones(3).item(), "Tensor.item", "reduce first"),
    "float of many": (lambda: float(torch.ones(3)), "Tensor.__float__", "reduce first"),
    "if of many": (lambda: bool(torch.ones(3)), "Tensor.__bool__", ".any()"),
    "negative strides": (lambda: torch.from_numpy(np.arange(4.0)[::-1]), "torch.from_numpy", "ascontiguousarray"),
    "text": (lambda: torch.from_numpy(np.array(["a"])), "torch.from_numpy", ""),
    "a list as an array": (lambda: torch.from_numpy([1.0]), "torch.from_numpy", ""),
    "an empty buffer": (lambda: torch.frombuffer(b"", dtype=torch.float32), "torch.frombuffer", ""),
}  # fmt: skip


def raised(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was refused")


def frames_of(error: BaseException) -> list[tuple[str, int | None]]:
    """The traceback, but for frames of ours."""
    shown = traceback.extract_tb(error.__traceback__)
    return [(entry.filename, entry.lineno) for entry in shown if "tensorwatch_guard" not in entry.filename][1:]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_one_finding_with_its_remedy(name: str) -> None:
    call, op, remedy = REFUSED[name]
    with guard(report=False) as g:
        error = raised(call)
    refusals = g.report.refusals
    assert [(found.op, found.count) for found in refusals] == [(op, 1)]
    (found,) = refusals
    assert found.details["exception"] == type(error).__name__
    assert found.details["message"] == str(error).split("\n", maxsplit=1)[0]
    assert remedy in found.advice
    assert found.site is not None
    assert found.site.file == __file__
    assert [other.kind for other in g.report.findings] == ["refusal"]


@pytest.mark.parametrize("name", REFUSED)
def test_the_exception_is_the_one_that_comes_without_a_guard(name: str) -> None:
    call = REFUSED[name][0]
    bare = raised(call)
    with guard(report=False):
        under = raised(call)
    assert (type(under), under.args) == (type(bare), bare.args)
    assert under.__context__ is None
    assert under.__cause__ is None
    assert not hasattr(under, "__notes__")
    assert frames_of(under) == frames_of(bare)


def test_numpys_question_with_copy_is_no_refusal() -> None:
    class Old(torch.Tensor):
        """What knows no ``copy=``: NumPy asks again without."""

        def __array__(self, dtype: Any = None) -> Any:
            return super().__array__(dtype)

    for tensor in (torch.ones(3), torch.ones(3).as_subclass(Old)):
        with guard(report=False) as g:
            np.asarray(tensor)
            np.array(tensor, copy=None)
        assert g.report.refusals == ()
        assert g.report.aliases


def test_an_error_out_of_the_users_own_code_is_none() -> None:
    class Broken(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise RuntimeError("mine")

    broken = torch.ones(3).as_subclass(Broken)
    with guard(report=False) as g:
        for call in (broken.item, broken.numpy, lambda: float(broken), lambda: np.asarray(broken)):
            with pytest.raises(RuntimeError, match="mine"):
                call()
    assert g.report.refusals == ()


def test_refusals_of_a_loop_are_one_finding() -> None:
    weight = needs_gradient()
    with guard(report=False) as g:
        for _ in range(5):
            raised(weight.numpy)
            try:
                weight.numpy()
            except RuntimeError:
                weight.detach().numpy()
    assert [(found.kind, found.count) for found in g.report.findings if found.origin is None] == [
        ("refusal", 5), ("refusal", 5), ("alias", 5),
    ]  # fmt: skip


def test_no_refusal_raises_or_warns_by_itself(recwarn: pytest.WarningsRecorder) -> None:
    with guard("error", report=False) as g:
        raised(needs_gradient().numpy)
    assert not [warning for warning in recwarn if "tensorwatch" in str(warning.category)]
    assert g.violation is None


@pytest.mark.parametrize(("place", "kind"), [("cpu", "read"), ("cuda", "sync")])
def test_what_python_makes_of_a_value_is_no_refusal(place: str, kind: str) -> None:
    """``int`` of a NaN fails after the value was fetched."""
    empty = torch.full((), float("nan"), device=place)
    with guard(report=False) as g, pytest.raises(ValueError, match="NaN"):
        int(empty)
    assert g.report.refusals == ()
    assert kind == "read" or [found.kind for found in g.report.findings] == [kind]
