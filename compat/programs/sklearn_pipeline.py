"""scikit-learn: a grid search over a pipeline whose last step is a skorch net."""

from __future__ import annotations

import numpy as np
import torch
from outcome import told, told_state, training
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn


class Net(nn.Module):
    """Two layers."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def main() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    digits = load_digits()
    net = NeuralNetClassifier(Net, criterion=nn.CrossEntropyLoss, max_epochs=8, train_split=None, verbose=0)
    pipeline = make_pipeline(StandardScaler(), net)
    grid = {"neuralnetclassifier__lr": [0.05, 0.2], "neuralnetclassifier__module__width": [16, 64]}
    search = GridSearchCV(pipeline, grid, cv=3, scoring=["accuracy", "neg_log_loss"], refit="accuracy")
    with training():
        search.fit(digits.data.astype("float32"), digits.target)
        score = search.score(digits.data.astype("float32"), digits.target)
    told("accuracy", search.cv_results_["mean_test_accuracy"])
    told("log loss", search.cv_results_["mean_test_neg_log_loss"])
    told("score", [score])
    told_state(search.best_estimator_[-1].module_)


if __name__ == "__main__":
    main()
