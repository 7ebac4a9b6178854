"""What must and must not wait on the simulated device, seen through PyTorch's own gpu_trace call-backs.

The calls are PyTorch's ``test_sync_warning`` and more. Two are not what one might think: ``x[0] = 1`` on a 1-D
tensor copies a host number over, and ``masked_scatter`` needs no count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.cuda import _gpu_trace
from torch.nn.functional import cross_entropy, ctc_loss, one_hot

from tensorwatch_guard.operations import BY_OVERLOAD
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAITS: list[str] = []
FREE: dict[str, Callable[[Any], Any]] = {
    "x[mask] = 1": lambda v: v.x.__setitem__(v.mask, 1.0),
    "x[indices] = t": lambda v: v.x.__setitem__(v.indices, v.three),
    "x[indices]": lambda v: v.x[v.indices],
    "one_hot(n)": lambda v: one_hot(v.indices, num_classes=3),
    "randperm": lambda v: torch.randperm(20000, device="cuda"),
    "repeat_interleave(2)": lambda v: torch.repeat_interleave(v.x, 2, output_size=20),
    "repeat_interleave(t, output_size)": lambda v: torch.repeat_interleave(v.x, v.repeats, output_size=10),
    "any": lambda v: torch.any(v.flag),
    "topk": lambda v: v.x.topk(2),
    "multinomial": lambda v: v.x.multinomial(2),
    "masked_fill(number)": lambda v: v.x.masked_fill(v.mask, 0.0),
    "sort": lambda v: v.x.sort(),
    "fill_": lambda v: v.x.fill_(1),
    "fill_(t)": lambda v: v.x.fill_(v.zero_d),
    "arange": lambda v: torch.arange(3, device="cuda"),
    "quantile": lambda v: v.x.quantile(0.5),
    "mode": lambda v: v.x.mode(),
    "cat": lambda v: torch.cat([v.x, v.x]),
    "bernoulli": lambda v: torch.bernoulli(v.x.clamp(0, 1)),
    "searchsorted": lambda v: torch.searchsorted(v.x, v.x),
    "masked_scatter": lambda v: v.x.masked_scatter(v.mask, v.x),
    "x + host number": lambda v: v.x + torch.tensor(1.0),
    "where(mask, x, number)": lambda v: torch.where(v.mask, v.x, 0.0),
    "_foreach_mul(device scalar)": lambda v: torch._foreach_mul([v.x], v.zero_d),
    "_foreach_mul(host scalar)": lambda v: torch._foreach_mul([v.x], torch.tensor(2.0)),
    "x[:1] = 1": lambda v: v.x[:1].fill_(1),
    "nonzero_static": lambda v: torch.nonzero_static(v.mask, size=3),
    "inv_ex": lambda v: torch.linalg.inv_ex(v.eye),
    "qr": lambda v: torch.linalg.qr(v.eye),
    "det": lambda v: torch.linalg.det(v.eye),
    "equal shapes differ": lambda v: torch.equal(v.x, v.three),
    "histc(range)": lambda v: v.x.histc(5, 0, 1),
    "pinned copy": lambda v: v.pinned.to("cuda", non_blocking=True),
    "to cpu, not blocking": lambda v: v.x.to("cpu", non_blocking=True),
    "event.record": lambda v: torch.cuda.Event().record(),
    "wait_stream": lambda v: torch.cuda.current_stream().wait_stream(torch.cuda.Stream()),
}
SYNCS: dict[str, Callable[[Any], Any]] = {
    "x[mask] = t": lambda v: v.x.__setitem__(v.mask, v.five),
    "x[host indices] = t": lambda v: v.x.__setitem__(v.host_indices, v.three),
    "x[mask]": lambda v: v.x[v.mask],
    "x[host indices]": lambda v: v.x[v.host_indices],
    "x[0] = 1": lambda v: v.x.__setitem__(0, 1.0),
    "nonzero": lambda v: v.x.nonzero(),
    "bool": lambda v: bool(v.flag),
    "one_hot": lambda v: one_hot(v.indices),
    "repeat_interleave(t)": lambda v: torch.repeat_interleave(v.x, v.repeats),
    "item": lambda v: v.flag.item(),
    "bincount": lambda v: torch.bincount(v.indices),
    "unique": lambda v: v.x.unique(),
    "unique(dim)": lambda v: v.eye.unique(dim=0),
    "unique_consecutive": lambda v: v.x.unique_consecutive(),
    "histc": lambda v: v.x.histc(5),
    "equal": lambda v: torch.equal(v.x, v.x + 1),
    "allclose": lambda v: torch.allclose(v.x, v.x),
    "tolist": lambda v: v.x.tolist(),
    "cpu": lambda v: v.x.cpu(),
    "cuda": lambda v: torch.ones(2).cuda(),
    "tensor(list)": lambda v: torch.tensor([1.0], device="cuda"),
    "tensor(device scalars)": lambda v: torch.tensor([v.zero_d, v.zero_d]),
    "repr": lambda v: repr(v.x),
    "format": lambda v: f"{v.zero_d:.2f}",
    "inv": lambda v: torch.linalg.inv(v.eye),
    "inv_ex(check_errors)": lambda v: torch.linalg.inv_ex(v.eye, check_errors=True),
    "eigh": lambda v: torch.linalg.eigh(v.eye),
    "svd": lambda v: torch.linalg.svd(v.eye),
    "lstsq": lambda v: torch.linalg.lstsq(v.eye, v.eye),
    "normal(t, t)": lambda v: torch.normal(v.x, v.x.abs()),
    "linspace(t, t)": lambda v: torch.linspace(v.flag.float(), v.flag.float() + 1, 3),
    "Normal": lambda v: torch.distributions.Normal(v.x, v.x.abs() + 1, validate_args=True),
    "float": lambda v: float(v.flag),
    "where(mask)": lambda v: torch.where(v.mask),
    "masked_select": lambda v: v.x.masked_select(v.mask),
    "x[list]": lambda v: v.x[[0, 1]],
    "masked_fill(t)": lambda v: v.x.masked_fill(v.mask, v.zero_d),
    "index_fill(t)": lambda v: v.x.index_fill(0, v.indices, v.zero_d),
    "x[indices] = number": lambda v: v.x.__setitem__(v.indices, 1.0),
    "x[device int]": lambda v: v.x[: v.indices[1]],
    "where(host scalar)": lambda v: torch.where(v.mask, v.x, torch.tensor(1.0)),
    "list(x) items": lambda v: [t.item() for t in v.three],
    "max(x)": lambda v: max(v.three),
    "t in x": lambda v: v.zero_d in v.three,
    "copy_ to host": lambda v: torch.empty(10).copy_(v.x),
    "stream.synchronize": lambda v: torch.cuda.current_stream().synchronize(),
    "synchronize": lambda v: torch.cuda.synchronize(),
    "accelerator.synchronize": lambda v: torch.accelerator.synchronize(),
    "event.synchronize": lambda v: v.event.synchronize(),
    "mode of long rows": lambda v: torch.zeros(3000, device="cuda").mode(),
    "ctc_loss(device lengths)": lambda v: ctc_loss(
        torch.zeros(4, 1, 3, device="cuda"), v.indices[1:2, None], v.indices[2:] + 2, v.indices[1:2]
    ),
}  # fmt: skip


class Values:
    def __init__(self) -> None:
        self.x = torch.rand(10, device="cuda")
        self.flag = torch.rand((), device="cuda") > 0.5
        self.mask = torch.tensor([True, False] * 5, device="cuda")
        self.indices = torch.tensor([0, 1, 2], device="cuda")
        self.host_indices = torch.tensor([0, 1, 2])
        self.repeats = torch.ones(10, dtype=torch.long, device="cuda")
        self.three = torch.arange(3.0, device="cuda")
        self.five = torch.ones(5, device="cuda")
        self.zero_d = torch.zeros((), device="cuda")
        self.eye = torch.eye(3, device="cuda")
        self.pinned = torch.ones(4).pin_memory()
        self.event = torch.cuda.Event()
        self.event.record()


def _note(kind: str) -> Callable[..., None]:
    return lambda *_: WAITS.append(kind)


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    registries = {
        "stream": _gpu_trace.StreamSynchronizationCallbacks,
        "device": _gpu_trace.DeviceSynchronizationCallbacks,
        "event": _gpu_trace.EventSynchronizationCallbacks,
    }
    notes = {kind: _note(kind) for kind in registries}
    for kind, registry in registries.items():
        registry.add_callback(notes[kind])
    with simulated_accelerator("cuda"):
        yield
    for kind, registry in registries.items():
        registry.callback_list.remove(notes[kind])


def waits_of(call: Callable[[], Any]) -> list[str]:
    WAITS.clear()
    call()
    return list(WAITS)


@pytest.mark.parametrize("name", list(FREE))
def test_does_not_wait(name: str) -> None:
    values = Values()
    assert waits_of(lambda: FREE[name](values)) == []


@pytest.mark.parametrize("name", list(SYNCS))
def test_waits(name: str) -> None:
    values = Values()
    assert waits_of(lambda: SYNCS[name](values))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("item", "stream"),
        ("stream.synchronize", "stream"),
        ("synchronize", "device"),
        ("event.synchronize", "event"),
    ],
)
def test_each_kind_of_wait_has_its_call_back(name: str, kind: str) -> None:
    values = Values()
    assert waits_of(lambda: SYNCS[name](values)) == [kind]


def test_backward_of_a_mask_waits() -> None:
    x = torch.rand(4, device="cuda", requires_grad=True)
    picked = x[torch.ones(4, dtype=torch.bool, device="cuda")]
    assert waits_of(lambda: picked.sum().backward())


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(x).mean(1))


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x).mean(1))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), lambda: torch.randn(4, 8)),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
        ),
        lambda: torch.randn(4, 1, 6, 6),
    ),
    "lstm": (_Lstm, lambda: torch.randn(4, 5, 8)),
    "transformer": (_Encoder, lambda: torch.randn(4, 5, 8)),
    "embedding": (_Words, lambda: torch.randint(0, 20, (4, 5))),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_a_training_step_waits_only_in_the_scaler(name: str) -> None:
    make, draw = MODELS[name]
    module, x, y = make().cuda(), draw().cuda(), torch.tensor([0, 1, 2, 0]).cuda()
    optimizer = torch.optim.AdamW(module.parameters())
    scaler = torch.amp.GradScaler("cuda")
    counts = {}
    for _ in range(2):  # the second step is the ordinary one: states exist
        optimizer.zero_grad()
        WAITS.clear()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = cross_entropy(module(x), y)
        counts["forward"] = len(WAITS)
        counts["backward"] = len(waits_of(scaler.scale(loss).backward))
        counts["unscale"] = len(waits_of(lambda: scaler.unscale_(optimizer)))
        counts["clip"] = len(waits_of(lambda: nn.utils.clip_grad_norm_(module.parameters(), 1.0)))
        counts["scaler step"] = len(waits_of(lambda: scaler.step(optimizer)))
        counts["scaler update"] = len(waits_of(scaler.update))
        counts["step"] = len(waits_of(optimizer.step))
    waited = {part: count for part, count in counts.items() if count}
    assert waited == {"scaler step": 1}


def test_debug_mode_raises_where_a_stream_is_waited_for() -> None:
    x = torch.ones(2, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
            x.sum().item()
        torch.cuda.synchronize()  # which the debug mode does not see, on a GPU neither
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.get_sync_debug_mode() == 0


def test_debug_mode_warns() -> None:
    x = torch.ones(2, device="cuda")
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="called a synchronizing CUDA operation") as told:
            (x.cpu(), x[x > 0])
    finally:
        torch.cuda.set_sync_debug_mode(0)
    assert {one.filename for one in told} == {__file__}  # CUDA's own names the innermost Python line
    assert len(told) == 2


def test_moves_of_the_table_on_device_tensors() -> None:
    x, host, index = torch.ones(4, device="cuda"), torch.ones(4), torch.tensor([0, 1])

    def move(overload: str, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
        row = BY_OVERLOAD[overload]
        assert row is not None
        assert row.moves is not None
        return [(m.direction, m.nbytes, m.pinned, m.blocking) for m in row.moves(args, kwargs)]

    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    assert move("aten._to_copy.default", host, device=cuda) == [("h2d", 16, False, True)]
    assert move("aten._to_copy.default", host, device=cuda, non_blocking=True) == [("h2d", 16, False, True)]
    assert move("aten._to_copy.default", host.pin_memory(), device=cuda, non_blocking=True) == [
        ("h2d", 16, True, False)
    ]
    assert move("aten._to_copy.default", x, device=cpu) == [("d2h", 16, False, True)]
    assert move("aten._to_copy.default", x, device=cpu, non_blocking=True) == [("d2h", 16, True, False)]
    assert move("aten._to_copy.default", x, dtype=torch.half) == []
    assert move("aten._to_copy.default", x, device=cuda, dtype=torch.half) == []
    assert move("aten.copy_.default", x, host) == [("h2d", 16, False, True)]
    assert move("aten.copy_.default", host, x, True) == [("d2h", 16, False, True)]
    assert move("aten.copy_.default", x, torch.tensor(1.0)) == [("h2d", 16, False, True)]
    assert move("aten.index.Tensor", x, [index]) == [("h2d", 16, False, True)]
    assert move("aten.index.Tensor", x, [index.cuda()]) == []
    assert move("aten.index_put_.default", x, [index.cuda()], torch.tensor(1.0)) == [("h2d", 4, False, True)]
    assert move("aten.index_put_.default", x, [x > 0], torch.tensor(1.0)) == []
    assert move("aten.where.self", x > 0, x, torch.tensor(1.0)) == [("h2d", 4, False, True)]
    assert move("aten.lift_fresh.default", x) == [("h2d", 16, False, True)]
    assert move("aten.lift_fresh.default", host) == []
    strided = torch.ones(4, 4).pin_memory()[:, ::2]
    assert move("aten._to_copy.default", strided, device=cuda, non_blocking=True) == [("h2d", 32, True, True)]
    assert move(
        "aten._to_copy.default", host.pin_memory(), device=cuda, dtype=torch.half, non_blocking=True
    ) == [("h2d", 16, True, False)]
