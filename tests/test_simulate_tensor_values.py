"""Indexing, views, ``out=`` and arithmetic on the simulated device: the values of the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name it is known by

from simulated_values import Cases, on
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Iterator

LAPACK = 2e-5  # LAPACK's last digits vary from run to run with the memory's alignment

CASES = Cases()


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


# --- indexing, views, out= -------------------------------------------------------------------------------------
@CASES.add()
def reading_by_index(device: str) -> Any:
    x = torch.arange(24.0).reshape(4, 6).to(device)
    mask, rows = x > 9, torch.tensor([0, 2]).to(device)
    return [
        x[1], x[1:3, ::2], x[..., -1], x[None, 2], x[mask], x[rows], x[rows, rows], x[[0, 3]], x[torch.tensor([1, 3])],
        x[:, mask[0]], x[rows, 1:3], x[rows[:, None], rows], x[torch.tensor(1).to(device)], x[1, 2],
    ]  # fmt: skip


@CASES.add()
def writing_by_index(device: str) -> Any:
    x = torch.arange(24.0).reshape(4, 6).to(device)
    rows = torch.tensor([0, 2]).to(device)
    x[1] = 5.0
    x[x > 20] = -1.0
    x[x < 2] = x[x < 2] * 10
    x[rows] = torch.ones(2, 6).to(device)
    x[rows, 1] = torch.tensor(7.0)
    x[[1, 3], :2] = 3.0
    x[torch.tensor([3])] = torch.zeros(1, 6).to(device)
    x[..., 5] += 1
    x.index_put_((rows, rows), torch.ones(2).to(device), accumulate=True)
    return x


@CASES.add()
def gradients_through_indices(device: str) -> Any:
    x = on(device, 5, 4, grad=True)
    rows = torch.tensor([0, 0, 3]).to(device)
    (x[x > 0].sum() + x[rows].square().sum() + x[:, 1].sum() + x.max() + x.prod(1).sum()).backward()
    return x.grad


@CASES.add()
def gather_scatter_select(device: str) -> Any:
    x, index = on(device, 4, 5), torch.tensor([[0, 1], [2, 0], [1, 1], [3, 2]]).to(device)
    return [
        x.gather(1, index), x.scatter(1, index, 9.0), x.scatter_add(1, index, x[:, :2].clone()), x.take(index),
        x.index_select(0, index[0]), x.index_add(0, index[:, 0], x), x.index_copy(0, index[1], x[:2]),
        x.index_fill(1, index[0], 4.0), x.masked_fill(x > 0, 0.0), x.masked_select(x > 0), x.nonzero(),
        torch.where(x > 0),
        torch.where(x > 0, x, 0.0), torch.where(x > 0, x, torch.tensor(2.0)),
        x.scatter_reduce(1, index, x[:, :2], "amax"),
        x.masked_scatter(x > 0, x), x.take_along_dim(index, 1), torch.argwhere(x > 0), x.put(index[0], x[0, :2]),
    ]  # fmt: skip


@CASES.add()
def views_and_writes_through_them(device: str) -> Any:
    x = torch.arange(24.0).to(device)
    grid = x.view(4, 6)
    grid.t()[1].add_(100)
    grid[:, ::2].mul_(2)
    grid.unfold(1, 2, 2)[0].zero_()
    grid.narrow(0, 2, 1).fill_(1)
    x.as_strided((3,), (5,)).neg_()
    grid.diagonal().add_(0.5)
    halves = grid.chunk(2)
    halves[1].copy_(halves[0])
    return [
        x,
        grid.permute(1, 0),
        grid.expand(2, 4, 6),
        grid.unsqueeze(1).squeeze(1),
        x.view(torch.int32),
        grid.flatten(),
    ]


@CASES.add()
def in_place_geometry(device: str) -> Any:
    x = torch.arange(6.0).reshape(2, 3).to(device)
    x.t_()
    x.unsqueeze_(0)
    x.squeeze_(0)
    x.transpose_(0, 1)
    return [x, x.stride(), x + 1]


@CASES.add()
def writing_into_out(device: str) -> Any:
    a, b = on(device, 3, 4), on(device, 3, 4)
    right, empty, other = (
        torch.empty(3, 4).to(device),
        torch.empty(0).to(device),
        torch.empty(4, 3).to(device).t(),
    )
    torch.add(a, b, out=right)
    torch.mul(a, b, out=empty)
    torch.sub(a, b, out=other)
    values, indices = torch.empty(0).to(device), torch.empty(0, dtype=torch.long).to(device)
    torch.max(a, 1, out=(values, indices))
    torch.cat([a, b], out=(joined := torch.empty(0).to(device)))
    return [
        right,
        empty,
        other,
        values,
        indices,
        joined,
        torch.matmul(a, b.t(), out=torch.empty(3, 3).to(device)),
    ]


@CASES.add()
def resizing_and_setting(device: str) -> Any:
    x = torch.arange(6.0).to(device)
    smaller = x.clone().resize_(2, 2)
    larger = x.clone().resize_(9)[:6]
    y = torch.empty(0).to(device)
    y.set_(x)
    z = torch.zeros(2, 3).to(device)
    z.data = x.view(2, 3) + 1
    w = torch.zeros(1).to(device)
    w.resize_as_(smaller).copy_(smaller)
    return [smaller, larger, y, z, z * 2, w]


# --- arithmetic ------------------------------------------------------------------------------------------------
@CASES.add()
def arithmetic_with_numbers(device: str) -> Any:
    x, n = on(device, 3, 4), torch.arange(1, 13).reshape(3, 4).to(device)
    zero_d = torch.tensor(2.5)
    return [
        x + 1, 2 - x, x * 0.1, x / 3, n // 2, n % 5, n * 2.5, x**2, 2**x, x.pow(3.5), x > 0, n == 3, -x,
        x.remainder(0.7),
        x.fmod(0.3), x + zero_d, n + zero_d, zero_d * x, x.clamp(-0.5, 0.5), x.bfloat16() * 0.1, n.bool() & True,
        n << 1,
        n | 8, x.add(1, alpha=0.5), torch.rsub(x, 1), torch.true_divide(n, 3), x.lerp(x.flip(0), 0.3),
        torch.atan2(x, zero_d),
    ]  # fmt: skip


@CASES.add()
def writing_arithmetic(device: str) -> Any:
    x = on(device, 3, 4)
    x += 1
    x *= 0.5
    x -= torch.tensor(0.25)
    x /= 3
    x.clamp_(-0.3, 0.3).addcmul_(x, x, value=0.5).addcdiv_(x, x.abs() + 1).lerp_(
        x.flip(0), 0.5
    ).sqrt_().nan_to_num_()
    return [x, x._version]


@CASES.add()
def reductions(device: str) -> Any:
    x = on(device, 4, 5)
    names = (
        "sum", "mean", "max", "min", "prod", "std", "var", "median", "argmax", "argmin", "amax", "amin", "logsumexp",
        "norm", "any", "all", "count_nonzero", "nansum", "aminmax", "mode", "cumsum", "cumprod", "logcumsumexp",
        "cummax",
    )  # fmt: skip
    along = [list(getattr(x, name)(1)) if name in {"max", "min", "median", "mode", "cummax"} else getattr(x,
        name)(dim=1)
             for name in names]  # fmt: skip
    return [along, x.sum(), x.mean(), x.max(), x.std(), x.prod(), x.norm(), x.median()]


@CASES.add()
def sorting_and_searching(device: str) -> Any:
    x = on(device, 4, 9)
    return [
        x.sort(1), x.argsort(1), x.topk(3), x.kthvalue(2), x.unique(), x.unique(dim=0), x.sign().unique_consecutive(),
        torch.searchsorted(x.sort().values, x), torch.bucketize(x, x[0].sort().values), torch.histc(x, 4, -2, 2),
        torch.bincount(x.abs().long().flatten()), x.quantile(0.3), x.msort(), torch.isin(x, x[0]), x.diff(),
    ]  # fmt: skip


@CASES.add()
def products(device: str) -> Any:
    a, b, batch = on(device, 3, 4), on(device, 4, 5), on(device, 2, 3, 4)
    return [
        a @ b, batch @ b, torch.einsum("bij,jk->bik", batch, b), a.mv(b[:, 0]), a[0].dot(b[:, 0]),
        torch.bmm(batch, batch.mT),
        torch.addmm(a @ b, a, b, beta=0.5), torch.outer(a[0], b[0]), torch.kron(a, b), torch.cdist(a, a),
        torch.tensordot(a, b, 1),
        torch.baddbmm(batch @ batch.mT, batch, batch.mT), F.bilinear(a, a, on(device, 2, 4, 4)),
    ]  # fmt: skip


@CASES.add(LAPACK)
def linear_algebra(device: str) -> Any:
    x = on(device, 4, 4)
    spd = x @ x.T + torch.eye(4).to(device) * 4
    return [
        torch.linalg.inv(spd), torch.linalg.solve(spd, x), torch.linalg.cholesky(spd), torch.linalg.det(spd),
        torch.linalg.eigvalsh(spd), torch.linalg.svdvals(x), torch.linalg.qr(spd).R.abs(),
        torch.linalg.lstsq(spd, x).solution,
        torch.linalg.matrix_norm(x), torch.linalg.matrix_exp(x), torch.linalg.pinv(spd), torch.linalg.slogdet(spd),
        torch.linalg.matrix_power(x, 3), torch.linalg.lu_factor(spd).LU, torch.linalg.matrix_rank(x),
    ]  # fmt: skip


@CASES.add(LAPACK)
def fourier_and_complex(device: str) -> Any:
    x = on(device, 4, 8)
    z = torch.fft.fft(x)
    return [
        z, z.conj() * 2, z.conj().imag, z.real, z.abs(), z.angle(), torch.view_as_real(z),
        torch.fft.irfft(torch.fft.rfft(x)),
        z.conj() @ z.T, z.mH @ z, torch.stft(x, 8, window=torch.ones(8).to(device), return_complex=True),
        z.conj().clone(),
    ]  # fmt: skip


@CASES.add()
def shapes(device: str) -> Any:
    x = on(device, 2, 3, 4)
    return [
        torch.cat([x, x], 1), torch.stack([x, x]), x.repeat(1, 2, 1), x.repeat_interleave(2, 1), x.flip(0),
        x.roll(1, 2), x.rot90(),
        torch.tril(x), x.split(1, 1), x.unbind(0), x.reshape(6, 4), torch.meshgrid(x[0, 0], x[0, 1], indexing="ij"),
        x.tile(2),
        torch.block_diag(x[0], x[1]), torch.broadcast_to(x, (2, 2, 3, 4)), x.movedim(0, 2),
        torch.cartesian_prod(x[0, 0], x[0, 1]),
    ]  # fmt: skip


@CASES.add()
def dtypes(device: str) -> Any:
    x = on(device, 3, 4) * 3
    names = (
        "float64",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
        "complex64",
    )
    converted = [x.to(getattr(torch, name)) for name in names]
    return [
        converted,
        [t + t for t in converted],
        x.half().float(),
        x.type(torch.float64),
        x.to(torch.float8_e4m3fn).float(),
    ]


@CASES.add()
def foreach_operations(device: str) -> Any:
    xs, ys = [on(device, 3), on(device, 2, 2)], [on(device, 3), on(device, 2, 2)]
    outs = [
        torch._foreach_add(xs, ys), torch._foreach_mul(xs, 2.0), torch._foreach_mul(xs, [2.0, 3.0]),
        torch._foreach_sqrt(xs),
        torch._foreach_norm(xs), torch._foreach_addcmul(xs, xs, ys),
        torch._foreach_div(xs, torch.tensor(2.0).to(device)),
        torch._foreach_mul(xs, torch.tensor(2.0)),
    ]  # fmt: skip
    torch._foreach_lerp_(xs, ys, 0.5)
    torch._foreach_copy_(ys, xs)
    torch._foreach_zero_(xs)
    return [outs, xs, ys]


@pytest.mark.parametrize("name", list(CASES))
def test_same_values_as_on_the_cpu(name: str) -> None:
    CASES.check(name)
