"""``train_digits_gpu.py`` mended: the same numbers, and the host waits once an epoch.

On any machine: ``python -m tensorwatch_guard run --simulate cuda examples/train_digits_gpu_mended.py``.
"""

from __future__ import annotations

import math

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

DEVICE = torch.device("cuda")
EPOCHS, BATCH = 3, 64


def train() -> None:
    """Train and print what was reached."""
    torch.manual_seed(0)
    digits = load_digits()
    # 1,797 small images: the whole set fits on the device and moves there once.
    images = (torch.from_numpy(digits.data).float() / 16).to(DEVICE)
    labels = torch.from_numpy(digits.target).to(DEVICE)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    weights = torch.ones(10, device=DEVICE)  # made on the device, once
    best = torch.tensor(float("inf")).to(DEVICE)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images)).pin_memory().to(DEVICE, non_blocking=True)
        losses = []
        right = torch.zeros((), dtype=torch.long, device=DEVICE)
        for chosen in order.split(BATCH):
            x, y = images[chosen], labels[chosen]
            logits = model(x)
            loss = functional.cross_entropy(logits, y, weight=weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            right += (logits.argmax(1) == y).sum()
        history = torch.stack(losses)
        best = torch.minimum(best, history.min())
        # One read for all that is wanted of this epoch; a nan anywhere shows in the mean.
        mean, hits, lowest = torch.stack([history.mean(), right, best]).tolist()
        if math.isnan(mean):
            raise SystemExit("diverged")
        print(f"epoch {epoch}: loss {mean:.4f}, right {hits / len(images):.3f}")
    print(f"best loss {lowest:.4f}")


if __name__ == "__main__":
    train()
