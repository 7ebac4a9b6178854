"""What each operation does at the border: the guard's word on the simulated device, with the ops layer and without.

The expectations are PyTorch's (its own ``test_sync_warning`` among them), not read from the operations table. Without
the ops layer a wait inside C++ is seen by the trace alone, and so is a copy that no watched call makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.simulate import simulated_accelerator

F = torch.nn.functional

SYNC = """
x.sum().item()
bool(x.any())
float(x[0])
int(x[0])
complex(x[0])
range(n)
[1, 2, 3][n]
torch.Size([n])
f"{x[0]:.2f}"
f"{x}"
str(x)
repr(x)
x.tolist()
x.sum().tolist()
1.0 in x
torch.is_nonzero(n)
max(list(x))
x[n]
x[:n]
x[n, ...]
x.reshape(n, 4)
torch.full((2,), n)
torch.zeros(n)
x.topk(n)
x.narrow(0, 0, n)
torch.arange(n)
F.leaky_relu(x, n)
x.masked_fill(mask, one)
x.clone().masked_fill_(mask, one)
x.index_fill(0, index, one)
torch.tensor([one, one])
x[mask]
square[mask]
x.clone().__setitem__(mask, x[mask])
x.clone().index_put_((mask,), one)
x.masked_select(mask)
torch.masked_select(x, mask)
x.nonzero()
torch.argwhere(x)
torch.where(mask)
torch.nonzero(x, as_tuple=True)
x.unique()
torch.unique(x, return_counts=True)
torch.unique(square, dim=0)
torch.unique_consecutive(x)
torch.bincount(index)
torch.histc(x)
torch.repeat_interleave(x, index)
x.repeat_interleave(index)
F.one_hot(index)
torch.equal(x, x + 1)
torch.allclose(x, x + 1)
torch.mode(many)
torch.linspace(zero, one, 4)
torch.logspace(zero, one, 4)
torch.normal(x, x.abs() + 1)
torch.linalg.inv(square)
torch.linalg.solve(square, square)
torch.linalg.cholesky(square)
torch.linalg.eigh(square)
torch.linalg.eigvalsh(square)
torch.linalg.svd(square)
torch.linalg.svdvals(square)
torch.linalg.eig(square)
torch.linalg.lu_factor(square)
torch.linalg.matrix_rank(square)
torch.linalg.pinv(square)
torch.inverse(square)
torch.linalg.inv_ex(square, check_errors=True)
torch.linalg.matrix_exp(square)
torch.cholesky_inverse(square)
torch.isin(torch.cat([x] * 4), torch.cat([x] * 4))
torch.segment_reduce(x, "sum", lengths=torch.full((1,), len(x), device="cuda"))
torch.distributions.Categorical(probs=x.abs() + 1, validate_args=True)
torch.nn.utils.clip_grad_norm_([grown], 1.0, error_if_nonfinite=True)
torch.cuda.synchronize()
torch.cuda.current_stream().synchronize()
torch.accelerator.synchronize()
torch.autograd.grad(grown[mask].sum(), grown)
F.ctc_loss(logs, targets, lengths, lengths)
"""
NOTHING = """
x + 1
x * x
x + host_number
x.clamp(min=host_number)
x.pow(one)
x.lerp(x, one)
x.add(one)
x.fill_(one)
x.clone().__setitem__(mask, 1.0)
x.clone().masked_fill_(mask, 1.0)
x.masked_fill(mask, 1.0)
x.index_fill(0, index, 1.0)
x[index]
x.clone().__setitem__(index, x[index])
x[1]
x[1:3]
x[None]
x[..., 0]
x.index_select(0, index)
x.gather(0, index)
x.scatter(0, index, 1.0)
torch.where(mask, x, 0.0)
torch.where(mask, x, one)
torch.where(mask, x, x)
x.any()
x.all()
x.isnan().any()
x.max()
x.argmax()
x.topk(2)
x.sort()
x.argsort()
x.kthvalue(1)
x.median()
x.quantile(0.5)
x.cumsum(0)
torch.isin(x, one)
torch.searchsorted(x, one)
torch.bucketize(x, x)
torch.multinomial(x.abs() + 1, 2)
torch.randperm(4, device="cuda")
torch.nonzero_static(x, size=3)
torch.histc(x, min=0, max=1)
torch.mode(x)
torch.repeat_interleave(x, 2)
torch.repeat_interleave(x, index, output_size=12)
F.one_hot(index, num_classes=9)
torch.equal(x, square)
torch.linalg.inv_ex(square)
torch.linalg.cholesky_ex(square)
torch.linalg.qr(square)
torch.linalg.det(square)
torch.linalg.slogdet(square)
torch.linalg.matrix_exp(x[:1, None])
torch.segment_reduce(x, "sum", lengths=index, unsafe=True)
torch.isin(x, x, assume_unique=True)
x.masked_scatter(mask, x)
F.dropout(x, 0.5)
F.softmax(x, 0)
F.cross_entropy(square, index)
F.embedding(index, square)
F.layer_norm(x, (8,))
F.conv1d(square[None], square[None])
x.to(torch.float64)
x.to("cuda")
x.cuda()
x.clone()
x.detach()
x.contiguous()
x.copy_(x + 1)
x.shape
list(x)
sum(x)
torch.stack([x, x])
torch.cat([x, x])
torch.zeros(3, device="cuda")
torch.full((3,), 2.0, device="cuda")
torch.linspace(0, 1, 4, device="cuda")
torch.cuda.Event().record()
torch._foreach_mul([x], one)
torch._foreach_add([x], 1.0)
torch.nn.utils.clip_grad_norm_([grown], 1.0)
torch.autograd.grad((grown * grown).sum(), grown)
host.tolist()
host[host > 0]
host.nonzero()
F.one_hot(host.long())
torch.tensor([1.0])
"""
H2D = """
host.to("cuda")
host.cuda()
host.to("cuda", non_blocking=True)
host.pin_memory().to("cuda", non_blocking=True)
host.to(x)
x.copy_(host)
torch.tensor([1.0, 2.0], device="cuda")
torch.tensor(1.0, device="cuda")
torch.asarray([1.0], device="cuda")
torch.as_tensor([1.0], device="cuda")
x.new_tensor([1.0])
x.new([1.0])
x[[0, 1]]
x[host_index]
x.clone().__setitem__(host_index, x[:2])
x.clone().__setitem__(0, 1.0)
torch.where(mask, x, host_number)
x.clone().__setitem__(index, 1.0)
torch.nn.Linear(2, 2).to("cuda")
torch.nn.Linear(2, 2).cuda()
torch._foreach_copy_([x], [host])
"""
D2H = """
x.cpu()
x.to("cpu")
x.to("cpu", non_blocking=True)
x.type("torch.FloatTensor")
host.copy_(x)
x.numpy(force=True)
torch.nn.Linear(2, 2, device="cuda").cpu()
torch.autograd.grad(host_grown.to("cuda").sum(), host_grown) and None
"""
EXPECTED = [
    (expression, kind)
    for kind, listed in (("sync", SYNC), ("", NOTHING), ("h2d", H2D), ("d2h", D2H))
    for expression in listed.strip().splitlines()
]
BOTH = {
    'torch.autograd.grad(host_grown.to("cuda").sum(), host_grown) and None': {"h2d", "d2h"},
    "F.ctc_loss(logs, targets, lengths, lengths)": {"sync", "d2h"},
}
"""Expressions that do more than one thing."""
PAST_MODES = ("torch.tensor([one", "torch.cuda.", "torch.accelerator.", "str(", "repr(", 'f"{x}"')
"""What dispatch modes do not see: explicit waits, prints, lists of device scalars."""


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


@pytest.fixture
def given() -> dict[str, Any]:
    torch.manual_seed(0)
    x = torch.arange(8.0, device="cuda")
    return {
        "torch": torch,
        "F": F,
        "x": x,
        "mask": x > 3,
        "index": torch.tensor([0, 1, 2, 3, 0, 1, 2, 3], device="cuda"),
        "host_index": torch.tensor([0, 1]),
        "n": torch.tensor(2, device="cuda"),
        "zero": torch.tensor(0.0, device="cuda"),
        "one": torch.tensor(1.0, device="cuda"),
        "host_number": torch.tensor(1.0),
        "host": torch.arange(8.0),
        "square": torch.eye(8, device="cuda") * 3,
        "many": torch.rand(3000, device="cuda"),
        "grown": _with_grad(torch.ones(8, device="cuda")),
        "host_grown": torch.ones(8, requires_grad=True),
        "logs": torch.rand(8, 2, 4, device="cuda").log_softmax(2),
        "targets": torch.ones(2, 3, dtype=torch.long, device="cuda"),
        "lengths": torch.tensor([3, 3], device="cuda"),
    }


def _with_grad(tensor: torch.Tensor) -> torch.Tensor:
    tensor.requires_grad_()
    tensor.grad = torch.ones_like(tensor)
    return tensor


def found(expression: str, given: dict[str, Any], *, ops: bool) -> tuple[set[str], Any]:
    code = compile(expression, "<user>", "eval")
    with guard(ops=ops, report=False) as g:
        eval(code, given)  # noqa: S307
    report = g.report
    assert report.notices == ()
    kinds = {one.details["direction"] if one.kind == "transfer" else one.kind for one in report.findings}
    return kinds - {"read", "alias"}, report


def test_enough_operations() -> None:
    assert len(EXPECTED) >= 120
    assert len(dict(EXPECTED)) == len(EXPECTED)


@pytest.mark.parametrize(("expression", "kind"), EXPECTED)
def test_with_the_ops_layer(expression: str, kind: str, given: dict[str, Any]) -> None:
    kinds, report = found(expression, given, ops=True)
    assert kinds == BOTH.get(expression, {kind} - {""}), [str(one) for one in report.findings]
    for one in report.findings:
        if one.details.get("seen_by") == ["trace"]:
            assert one.via[0].startswith("aten.")  # no row of the table, but the operation is named
        elif one.kind in ("sync", "transfer") and not expression.startswith(PAST_MODES):
            assert "ops" in one.details["seen_by"]


@pytest.mark.parametrize(("expression", "kind"), EXPECTED)
def test_without_it(expression: str, kind: str, given: dict[str, Any]) -> None:
    kinds, report = found(expression, given, ops=False)
    traced = {one.kind for one in report.findings if one.details.get("seen_by") == ["trace"]}
    expected = BOTH.get(expression, {kind} - {""})
    if traced:
        assert kinds <= {"sync", *expected}
        assert expected
    else:
        assert kinds <= expected
        assert bool(kinds) == bool(expected)
