"""Training loops: optimizers in their three implementations, schedulers, clipping, averaging, closures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

if TYPE_CHECKING:
    from parity.record import Record


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.25), nn.Linear(8, 3))


def _fit(record: Record, optimizer_of: Any, steps: int = 4) -> None:
    model = _mlp()
    optimizer = optimizer_of(model.parameters())
    curve = []
    for step in range(steps):
        inputs = torch.from_numpy(np.random.rand(5, 6).astype(np.float32))  # noqa: NPY002
        target = torch.randint(0, 3, (5,))
        optimizer.zero_grad(set_to_none=step % 2 == 0)
        output = model(inputs)
        loss = nn.functional.cross_entropy(output, target)
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
        record.note("output", output)
        if loss > 100:
            raise AssertionError("diverged")
    record.note("curve", curve)
    record.module("model", model)
    record.optimizer("optimizer", optimizer)


def adam_foreach(record: Record) -> None:
    """Adam, foreach: its in-place ops are those that a dispatch mode could make forget their version bumps."""
    _fit(record, lambda p: torch.optim.Adam(p, lr=1e-2, foreach=True))


def adam_fused(record: Record) -> None:
    """Adam with the fused implementation, which bumps no version."""
    _fit(record, lambda p: torch.optim.Adam(p, lr=1e-2, fused=True))


def adamw_single(record: Record) -> None:
    """AdamW, one tensor at a time, with AMSGrad: the many reads of the CPU step tensors."""
    _fit(record, lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=False, amsgrad=True))


def sgd_kinds(record: Record) -> None:
    """SGD with momentum and weight decay, foreach and fused."""
    _fit(record, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, foreach=True))
    _fit(record, lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=1e-2, fused=True))


KINDS: Final = ({"foreach": True}, {"fused": True}, {"capturable": True}, {"maximize": True, "foreach": False})


def every_kind(record: Record) -> None:
    """SGD, Adam and AdamW in each implementation; what PyTorch refuses on the CPU (capturable) it refuses in the same words."""
    for make in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        for options in KINDS:
            if make is torch.optim.SGD and "capturable" in options:
                continue
            with record.error(f"{make.__name__} {options}"):
                _fit(record, lambda p, make=make, options=options: make(p, lr=1e-2, **options), steps=2)


def differentiable_step(record: Record) -> None:
    """An optimizer whose step is part of the graph."""
    weight = torch.ones(3, requires_grad=True)
    moved = weight.clone()
    optimizer = torch.optim.SGD([moved], lr=torch.tensor(0.5, requires_grad=True), differentiable=True)
    moved.grad = torch.arange(3.0)
    optimizer.step()
    moved.pow(2).sum().backward()
    record.note("weight.grad", weight.grad)
    record.note("moved", moved)


def lbfgs_closure(record: Record) -> None:
    """LBFGS calls the closure, and with it backward, many times inside one step."""
    weight = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], lr=0.5, max_iter=6, line_search_fn="strong_wolfe")
    calls = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight - torch.tensor([1.0, 2.0])).pow(4).sum()
        loss.backward()
        calls.append(float(loss))
        return loss

    for _ in range(2):
        record.note("returned", optimizer.step(closure))  # type: ignore[arg-type]
    record.note("calls", calls)
    record.note("weight", weight)
    record.optimizer("optimizer", optimizer)


def scheduled(record: Record) -> None:
    """Schedulers that wrap the optimizer's step, warn about a wrong order, and clip gradients by their norm."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4),
        ],
        milestones=[2],
    )
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    torch.optim.lr_scheduler.ExponentialLR(torch.optim.SGD(model.parameters(), lr=0.1), 0.9).step()
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(torch.ones(3, 4)).pow(2).sum()
        loss.backward()
        record.note("norm", nn.utils.clip_grad_norm_(model.parameters(), 0.5))
        nn.utils.clip_grad_value_(model.parameters(), 0.2)
        optimizer.step()
        scheduler.step()
        plateau.step(loss)
        record.note("rate", optimizer.param_groups[0]["lr"])
    record.module("model", model)


def averaged(record: Record) -> None:
    """Weight averaging, an exponential moving average by hand, and a soft update of a target network."""
    model, target = nn.Linear(3, 3), nn.Linear(3, 3)
    target.load_state_dict(model.state_dict())
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    shadow = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 3)).square().mean().backward()
        optimizer.step()
        average.update_parameters(model)
        with torch.no_grad():
            for name, value in model.named_parameters():
                shadow[name].mul_(0.9).add_(value, alpha=0.1)
            for slow, fast in zip(target.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.05)
    record.module("model", model)
    record.module("average", average)
    record.module("target", target)
    record.note("shadow", shadow)


def accumulated(record: Record) -> None:
    """Gradients accumulated over several backward passes; the gradient's NumPy twin is kept and rewritten."""
    model = nn.Linear(4, 4)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    kept = []
    for step in range(6):
        loss = model(torch.randn(3, 4)).tanh().sum() / 3
        loss.backward()
        kept.append(model.weight.grad.numpy())  # type: ignore[union-attr]
        if step % 3 == 2:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
    record.note("kept", kept)
    record.module("model", model)


def step_hooks(record: Record) -> None:
    """Hooks of the user's own on the optimizer and its state_dict: their order and arguments stay."""
    told: list[Any] = []
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: told.append(("pre", len(args), sorted(kwargs))))
    optimizer.register_step_post_hook(lambda opt, args, kwargs: told.append(("post", len(args), sorted(kwargs))))
    optimizer.register_state_dict_post_hook(lambda opt, state: told.append(sorted(state)))
    handle = register_optimizer_step_post_hook(lambda opt, a, k: told.append(type(opt).__name__))
    try:
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizer.state_dict()
    finally:
        handle.remove()
    record.note("told", told)
    record.note("step", type(optimizer.step).__name__)
    record.module("model", model)


PROGRAMS = (
    adam_foreach,
    adam_fused,
    adamw_single,
    sgd_kinds,
    every_kind,
    differentiable_step,
    lbfgs_closure,
    scheduled,
    averaged,
    accumulated,
    step_hooks,
)
