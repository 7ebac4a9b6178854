"""Train a small network on real images, the digits that come with scikit-learn, and make the usual mistakes on the way.

    tensorwatch-guard run examples/train_digits.py

It trains, it prints an accuracy, and nothing complains. Still the data set fades, the history of the weights is one
array many times over, the "best" weights are the last ones, and gradients are computed from numbers that were not in
the forward pass. The guard names each line. (Wrong on purpose: do not copy from here.)
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset

EPOCHS = 5
BATCH = 64


class Digits(Dataset[tuple[torch.Tensor, int]]):
    """8 x 8 images with brightness jitter: every epoch sees them a little lighter or darker."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[index])
        image *= 0.85 + 0.2 * torch.rand(1)  # meant for this sample, lands in the data set for good
        return image, int(self.labels[index])


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images as (n, 1, 8, 8) float32 from 0 to 1, and labels; the last 297 for testing."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    return images[:1500], labels[:1500], images[1500:], labels[1500:]


def evaluate(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> tuple[float, list[torch.Tensor]]:
    """The accuracy, and the batches, to look at later."""
    buffer = np.zeros((99, 1, 8, 8), dtype=np.float32)
    batch = torch.from_numpy(buffer)
    right, shown = 0, []
    with torch.no_grad():
        for start in range(0, len(images), len(buffer)):
            buffer[:] = images[start : start + len(buffer)]  # paints over the batches that were kept
            target = torch.from_numpy(labels[start : start + len(buffer)])
            right += int((model(batch).argmax(dim=1) == target).sum())
            shown.append(batch)
    return right / len(images), shown


def main() -> None:
    """Train, and tell what became of things."""
    torch.manual_seed(0)
    images, labels, test_images, test_labels = load()
    brightness = images.mean()
    first = nn.Conv2d(1, 16, 3, padding=1)
    model = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 4 * 4, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-2)
    loader = DataLoader(Digits(images, labels), batch_size=BATCH, shuffle=True)
    history, best, best_epoch, best_accuracy, spread = [], {}, 0, 0.0, 0.0

    for epoch in range(EPOCHS):
        total = 0.0
        for batch, target in loader:
            loss = F.cross_entropy(model(batch), target)
            pixels = batch.numpy()
            pixels -= pixels.mean()  # centred for the statistics only; but backward still needs the batch
            spread = max(spread, float(pixels.std()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()  # on a GPU, the host waits here in every step
            if loss > 10:  # and once more here
                print("the loss is getting large")
        accuracy, shown = evaluate(model, test_images, test_labels)
        history.append(first.weight.detach().numpy())  # shares the parameter's memory
        if accuracy > best_accuracy:
            best_epoch, best_accuracy = epoch, accuracy
            best = {name: value.numpy() for name, value in model.state_dict().items()}
        print(f"epoch {epoch}: loss {total / len(loader):.3f}, accuracy {accuracy:.3f}")

    moved = float(np.abs(history[-1] - history[0]).max())
    print(f"weights: moved by {moved:.3f} in {len(history)} epochs")
    same = all(np.array_equal(best[name], value.numpy()) for name, value in model.state_dict().items())
    print(f"best weights: of epoch {best_epoch}; {'equal' if same else 'unlike'} those of epoch {EPOCHS - 1}")
    print(f"test batches: {len(shown)} kept, {len({kept.numpy().tobytes() for kept in shown})} different")
    print(f"data set: brightness {brightness:.3f} at first, {images.mean():.3f} now; spread {spread:.3f}")


if __name__ == "__main__":
    main()
