"""The operations table: what it says of an overload, for arguments on the host and on a (simulated) device."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tensorwatch_guard.operations import BY_OVERLOAD, OPERATIONS, WATCHED, waits
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALWAYS = """_local_scalar_dense.default allclose.default nonzero.default nonzero.out masked_select.default
 _unique2.default
 unique_dim.default unique_consecutive.default bincount.default _linalg_check_errors.default _linalg_eigh.default
 linalg_eig.default _linalg_svd.default linalg_lstsq.default is_nonzero.default _to_sparse.default _coalesce.default
 _nested_tensor_from_mask.default"""
NEVER = """add.Tensor mul.Tensor clamp.Tensor any.default all.default topk.default sort.default multinomial.default
 randperm.default nonzero_static.default masked_fill.Scalar _foreach_mul.Tensor fill_.Tensor masked_scatter.default"""


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


def says(overload: str, *args: Any, **kwargs: Any) -> bool:
    row = BY_OVERLOAD[f"aten.{overload}"]
    return row is not None and waits(row, args, kwargs)


@pytest.mark.parametrize("overload", ALWAYS.split())
def test_always(overload: str) -> None:
    row = BY_OVERLOAD[f"aten.{overload}"]
    assert row is not None
    assert row.waits == "always"


@pytest.mark.parametrize("overload", NEVER.split())
def test_never(overload: str) -> None:
    row = BY_OVERLOAD[f"aten.{overload}"]
    assert row is None or row.waits == "never"


class Given:
    def __init__(self) -> None:
        self.x = torch.rand(4, device="cuda")
        self.mask = self.x > 0.5
        self.index = torch.tensor([0, 1], device="cuda")
        self.number, self.host = torch.tensor(1.0, device="cuda"), torch.tensor(1.0)
        self.many = torch.rand(3000, device="cuda")


CONDITIONAL: dict[str, tuple[Callable[[Given], bool], bool]] = {
    "index by mask": (lambda g: says("index.Tensor", g.x, [g.mask]), True),
    "index by byte mask": (lambda g: says("index.Tensor", g.x, [g.mask.byte()]), True),
    "index by positions": (lambda g: says("index.Tensor", g.x, [None, g.index]), False),
    "index by host mask": (lambda g: says("index.Tensor", g.x, [g.mask.cpu()]), False),
    "put tensor by mask": (lambda g: says("index_put_.default", g.x, [g.mask], g.x[:1]), True),
    "put number by mask": (lambda g: says("index_put_.default", g.x, [g.mask], g.host), False),
    "accumulate number by mask": (lambda g: says("index_put_.default", g.x, [g.mask], g.host, True), True),
    "put number by mask and index": (
        lambda g: says("index_put_.default", g.x, [g.mask, g.index], g.host),
        True,
    ),
    "put by index": (lambda g: says("_index_put_impl_.default", g.x, [g.index], g.number), False),
    "fill with device value": (lambda g: says("masked_fill.Tensor", g.x, g.mask, g.number), True),
    "fill with host value": (lambda g: says("masked_fill.Tensor", g.x, g.mask, g.host), False),
    "index_fill with device value": (
        lambda g: says("index_fill_.int_Tensor", g.x, 0, g.index, g.number),
        True,
    ),
    "repeats without size": (lambda g: says("repeat_interleave.Tensor", g.index), True),
    "repeats with size": (lambda g: says("repeat_interleave.Tensor", g.index, output_size=1), False),
    "histc": (lambda g: says("histc.default", g.x), True),
    "histc with range": (lambda g: says("histc.default", g.x, 10, 0, 1), False),
    "mode": (lambda g: says("mode.default", g.x), False),
    "mode of long rows": (lambda g: says("mode.default", g.many), True),
    "mode along short rows": (lambda g: says("mode.default", g.many.view(1000, 3)), False),
    "equal": (lambda g: says("equal.default", g.x, g.x.clone()), True),
    "equal to itself": (lambda g: says("equal.default", g.x, g.x.view(4)), False),
    "equal of other shape": (lambda g: says("equal.default", g.x, g.index), False),
    "linspace of device bounds": (lambda g: says("linspace.Tensor_Scalar", g.number, 3, 4), True),
    "linspace of host bounds": (lambda g: says("linspace.Tensor_Scalar", g.host, 3, 4), False),
    "normal with device deviation": (lambda g: says("normal.Tensor_Tensor", g.x, g.x), True),
    "normal with number": (lambda g: says("normal.Tensor_float", g.x, 1.0), False),
    "inv_ex": (lambda g: says("linalg_inv_ex.default", g.x), False),
    "inv_ex that checks": (lambda g: says("linalg_inv_ex.default", g.x, check_errors=True), True),
    "ctc with device lengths": (lambda g: says("_ctc_loss.Tensor", g.x, g.index, g.index, g.index), True),
    "ctc with host lengths": (
        lambda g: says("_ctc_loss.Tensor", g.x, g.index, g.index.cpu(), g.index.cpu()),
        False,
    ),
}


@pytest.mark.parametrize("name", list(CONDITIONAL))
def test_conditional(name: str) -> None:
    ask, answer = CONDITIONAL[name]
    assert ask(Given()) is answer


def test_every_overload_exists() -> None:
    missing = []
    for row in OPERATIONS:
        for overload in row.overloads:
            found: Any = torch.ops
            for part in overload.split("."):
                found = getattr(found, part, None)
            if found is None:
                missing.append(overload)
    assert missing == []


def test_no_overload_has_two_rows() -> None:
    overloads = [overload for row in OPERATIONS for overload in row.overloads]
    assert len(overloads) == len(set(overloads))
    assert len(WATCHED) < len(OPERATIONS)


def test_a_packet_answers_for_its_overloads() -> None:
    assert BY_OVERLOAD["aten.nonzero.out"] is BY_OVERLOAD["aten.nonzero.default"] is not None
    assert BY_OVERLOAD["aten.mul.Tensor"] is None
    assert BY_OVERLOAD.get("aten.nonzero.out") is BY_OVERLOAD["aten.nonzero.out"]
    assert BY_OVERLOAD.get("aten.sub.Tensor", "nothing") == "nothing"


def test_silent_writes() -> None:
    row = BY_OVERLOAD["aten.native_batch_norm.default"]
    assert row is not None
    assert row.writes == (3, 4)
    assert not row.bumps
    assert row.writes_when is not None
    x = torch.ones(2, 3)
    for training in (True, False):
        assert row.writes_when((x, None, None, x[0], x[0], training, 0.1, 1e-5), {}) is training
    for overload in (
        "_fused_adam_.default",
        "_fused_sgd_.tensor_lr",
        "_amp_foreach_non_finite_check_and_unscale_.default",
    ):
        silent = BY_OVERLOAD[f"aten.{overload}"]
        assert silent is not None
        assert not silent.bumps


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_fused_optimizers_leave_versions_as_they_were(optimizer: str) -> None:
    """What the rows with ``bumps=False`` claim of PyTorch."""
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    before = parameter._version
    getattr(torch.optim, optimizer)([parameter], lr=0.1, fused=True).step()
    assert parameter._version == before
    assert not torch.equal(parameter.detach(), torch.ones(3))


def test_batch_norm_writes_its_statistics_silently() -> None:
    module = torch.nn.BatchNorm1d(2)
    mean = module.running_mean
    assert mean is not None
    before = mean._version
    module(torch.randn(4, 2))
    assert mean._version == before
    assert mean.abs().sum() > 0


def test_the_table_needs_no_torch() -> None:
    code = "import sys, tensorwatch_guard.operations; assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
