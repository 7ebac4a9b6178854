"""What the simulated device costs against the CPU: an operation, a step of small models, entering and leaving.

    python benchmarks/simulated_device.py

Processor time of one thread, best of several rounds, so that other load on the machine matters little.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS: dict[str, Callable[[torch.Tensor], object]] = {
    "x + x": lambda x: x + x,
    "x @ x": lambda x: x @ x,
    "x.sum()": lambda x: x.sum(),
    "x * 2": lambda x: x * 2.0,
    "x.add_(x)": lambda x: x.add_(x),
    "x.view(64)": lambda x: x.view(64),
    "x[0]": lambda x: x[0],
    "x.sum().item()": lambda x: x.sum().item(),
    "empty_like": torch.empty_like,
    "host to device": lambda x: torch.empty(8, device="cpu").to(x.device),
}


class Sequences(nn.Module):
    """An LSTM or a transformer layer and a head."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.head = kind, nn.Linear(16, 4)
        self.body: nn.Module
        if kind == "lstm":
            self.body = nn.LSTM(16, 16, batch_first=True)
        else:
            self.body = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The head on the last or the mean position."""
        out = self.body(x)
        return self.head(out[0][:, -1] if self.kind == "lstm" else out.mean(1))  # type: ignore[no-any-return]


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "10 x Linear(32)": (
        lambda: nn.Sequential(*(nn.Linear(32, 32) for _ in range(10)), nn.Linear(32, 4)),
        (16, 32),
    ),
    "MLP": (
        lambda: nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)),
        (32, 16),
    ),
    "CNN, BatchNorm": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 4),
        ),
        (32, 1, 8, 8),
    ),
    "transformer layer": (lambda: Sequences("transformer"), (32, 8, 16)),
    "LSTM, 8 steps": (lambda: Sequences("lstm"), (32, 8, 16)),
}


def microseconds(call: Callable[[], object], turns: int) -> float:
    """Processor time of one call, best of seven rounds."""
    best = float("inf")
    call()
    for _ in range(7):
        start = time.process_time()
        for _ in range(turns):
            call()
        best = min(best, (time.process_time() - start) / turns)
    return best * 1e6


def operations(device: str) -> dict[str, float]:
    """Each operation on 8x8 floats."""
    x = torch.rand(8, 8).to(device)
    return {name: microseconds(lambda call=call: call(x), 2000) for name, call in OPERATIONS.items()}  # type: ignore[misc]


def steps(device: str) -> dict[str, float]:
    """A training step of each model with SGD and AdamW."""
    found = {}
    for name, (make, shape) in MODELS.items():
        for optimizer_class in (torch.optim.SGD, torch.optim.AdamW):
            torch.manual_seed(0)
            model = make().to(device)
            optimizer = optimizer_class(model.parameters(), lr=1e-3)  # type: ignore[operator]
            x, y = torch.randn(*shape).to(device), torch.randint(0, 4, (shape[0],)).to(device)

            def step(
                model: nn.Module = model,
                optimizer: torch.optim.Optimizer = optimizer,
                x: torch.Tensor = x,
                y: torch.Tensor = y,
            ) -> None:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()

            found[f"{name}, {optimizer_class.__name__}"] = microseconds(step, 25)
    return found


def main() -> None:
    """Measure on the device first: a backward before would take its threads away."""
    torch.set_num_threads(1)
    entered, left = [], []
    for turn in range(4):
        start = time.perf_counter()
        with simulated_accelerator("cuda"):
            entered.append(time.perf_counter() - start)
            if turn == 0:
                device = {**operations("cuda"), **steps("cuda")}
            start = time.perf_counter()
        left.append(time.perf_counter() - start)
    host = {**operations("cpu"), **steps("cpu")}
    print(f"torch {torch.__version__}; microseconds of processor time, CPU / simulated / ratio")
    for name, time_there in device.items():
        print(f"{name:34s}{host[name]:9.1f}{time_there:9.1f}{time_there / host[name]:7.2f}")
    print(f"entering {entered[0] * 1e3:.0f} ms the first time, {min(entered) * 1e3:.0f} ms again")
    print(f"leaving {min(left) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
