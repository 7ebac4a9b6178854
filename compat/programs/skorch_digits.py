"""skorch: a classifier on scikit-learn's digits, with callbacks, a checkpoint of the best epoch, and predictions."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from outcome import told, told_state, training
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from torch import nn


def main() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    digits = load_digits()
    pixels = (digits.data / 16).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        net = NeuralNetClassifier(
            nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)),
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=0.002,
            batch_size=32,
            max_epochs=40,
            callbacks=[
                EpochScoring("f1_macro", lower_is_better=False),
                EarlyStopping(patience=15),
                LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=10),
                Checkpoint(dirname=folder, load_best=True),
            ],
            verbose=0,
        )
        with training():
            net.fit(pixels, digits.target)
            probabilities = net.predict_proba(pixels)
    told("train loss", net.history[:, "train_loss"])
    told("valid loss", net.history[:, "valid_loss"])
    told("probabilities", [probabilities.sum(), probabilities.std()])
    told_state(net.module_)


if __name__ == "__main__":
    main()
