"""Ten training steps on the simulated device end where the CPU's end: five models, four optimizers, foreach and fused, AMP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name it is known by
from torch import nn

from simulated_values import flat, on
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 10
CLOSE = 2e-4
"""Fused cells, the math attention and foreach formulas round otherwise than the CPU's own; ten steps carry that on."""


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(x)[0][:, -1])


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(8 * 4, 3))


def embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), nn.Linear(6 * 4, 3))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (8, 6)),
    "cnn": (cnn, (8, 1, 6, 6)),
    "lstm": (Last, (8, 4, 5)),
    "transformer": (transformer, (8, 4, 8)),
    "embedding": (embedding, (8, 4)),
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam_foreach": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True),
    "adamw_fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.005),
}


def trained(device: str, model: str, optimizer: str, *, amp: bool = False) -> list[torch.Tensor]:
    torch.manual_seed(11)
    make, shape = MODELS[model]
    module = make().to(device)
    stepper = OPTIMIZERS[optimizer](module.parameters())
    scaler = torch.amp.GradScaler(device, enabled=amp, init_scale=8.0)
    losses = []
    for _ in range(STEPS):
        x = torch.randint(0, 11, shape).to(device) if model == "embedding" else on(device, *shape)
        y = torch.randint(0, 3, (8,)).to(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=amp):
            loss = F.cross_entropy(module(x).float(), y)
        stepper.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(stepper)
        scaler.update()
        losses.append(loss.detach())
    return flat([losses, list(module.parameters()), list(module.buffers())])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_ten_steps_end_where_the_cpu_ends(model: str, optimizer: str) -> None:
    found, expected = trained("cuda", model, optimizer), trained("cpu", model, optimizer)
    # A key's bias has no gradient but rounding noise, which adaptive optimizers blow up to full steps: losses only.
    noisy = model == "transformer" and optimizer != "sgd"
    tolerance = 2e-3 if noisy else CLOSE
    for one, other in zip(found[:STEPS] if noisy else found, expected[:STEPS] if noisy else expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_mixed_precision_with_a_scaler_does_too(model: str) -> None:
    for one, other in zip(trained("cuda", model, "sgd", amp=True), trained("cpu", model, "sgd", amp=True), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)  # bfloat16 keeps eight bits
