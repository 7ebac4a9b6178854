"""torchmetrics: a plain loop whose metrics are torchmetrics' own, a collection of them among these."""

from __future__ import annotations

import numpy as np
import torch
import torchmetrics
from outcome import told, told_state, training
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    torch.manual_seed(6)
    np.random.seed(6)
    digits = load_digits()
    data = TensorDataset(torch.from_numpy((digits.data / 16).astype("float32")), torch.from_numpy(digits.target))
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    task = {"task": "multiclass", "num_classes": 10}
    metrics = torchmetrics.MetricCollection(
        {
            "accuracy": torchmetrics.Accuracy(**task),
            "f1": torchmetrics.F1Score(**task, average="macro"),
            "auroc": torchmetrics.AUROC(**task, thresholds=50),
            "confusion": torchmetrics.ConfusionMatrix(**task),
        }
    )
    mean = torchmetrics.MeanMetric()
    losses, found = [], {}
    with training():
        for _epoch in range(40):
            for x, y in DataLoader(data, batch_size=64, shuffle=True):
                out = model(x)
                loss = nn.functional.cross_entropy(out, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                metrics.update(out.softmax(1), y)
                mean.update(loss)
            losses.append(mean.compute().item())
            found = {name: value.double().mean().item() for name, value in metrics.compute().items()}
            metrics.reset()
            mean.reset()
    told("loss", losses)
    told("metrics", found.values())
    told_state(model)


if __name__ == "__main__":
    main()
