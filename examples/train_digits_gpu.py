"""Handwritten digits, trained on a GPU the way it is often written: right results, and the host waits all the time.

    python examples/train_digits_gpu.py                                                   # on a GPU
    python -m tensorwatch_guard run --simulate cuda examples/train_digits_gpu.py          # on any machine

``train_digits_gpu_mended.py`` computes the same numbers and waits once an epoch.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

DEVICE = torch.device("cuda")
EPOCHS, BATCH = 3, 64


def batches(images: torch.Tensor, labels: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch in random order."""
    order = torch.randperm(len(images))
    return [(images[chosen], labels[chosen]) for chosen in order.split(BATCH)]


def train() -> None:
    """Train and print what was reached."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.from_numpy(digits.data).float() / 16
    labels = torch.from_numpy(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    best, right = float("inf"), 0
    for epoch in range(EPOCHS):
        losses = []
        right = 0
        for image, label in batches(images, labels):
            x, y = image.to(DEVICE), label.to(DEVICE)  # from pageable memory: blocks, twice a step
            weights = torch.tensor([1.0] * 10, device=DEVICE)  # the same constant is copied in every step
            logits = model(x)
            loss = functional.cross_entropy(logits, y, weight=weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if torch.isnan(loss):  # waits
                raise SystemExit("diverged")
            if loss < best:  # waits
                best = loss.item()  # and waits again
            losses.append(loss.item())
            hits = logits.argmax(1) == y
            right += len(y[hits])  # a mask: its length must be counted on the device first
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, right {right / len(images):.3f}")
    print(f"best loss {best:.4f}")


if __name__ == "__main__":
    train()
