"""Accelerate: the loop of its first page, with accumulation, clipping, a scheduler and gathered metrics."""

from __future__ import annotations

import tempfile

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from outcome import told, told_state, training
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    set_seed(2)
    digits = load_digits()
    pixels, targets = torch.from_numpy((digits.images / 16).astype("float32")), torch.from_numpy(digits.target)
    loader = DataLoader(TensorDataset(pixels.unsqueeze(1), targets), batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=800)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    losses, right = [], 0
    with training():
        for _epoch in range(25):
            right = 0
            for x, y in loader:
                with accelerator.accumulate(model):
                    out = model(x)
                    loss = nn.functional.cross_entropy(out, y)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                losses.append(loss.item())
                guessed, wanted = accelerator.gather_for_metrics((out.argmax(1), y))
                right += int((guessed == wanted).sum())
        with tempfile.TemporaryDirectory() as folder:
            accelerator.save_state(folder)
            accelerator.load_state(folder)
    told("loss", losses)
    told("right", [right])
    told_state(accelerator.unwrap_model(model))


if __name__ == "__main__":
    main()
