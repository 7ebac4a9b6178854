"""A memory-mapped file of features, normalised in place by the model's own preprocessing: the file on disk changes."""
import tempfile
from pathlib import Path

import numpy as np
import torch

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "features.bin"
np.arange(600, dtype=np.float32).tofile(path)
features = np.memmap(path, dtype=np.float32, mode="r+", shape=(60, 10))


def batch(start):
    return torch.from_numpy(features[start : start + 20])  # expect: alias


first = batch(0)
first -= first.mean(dim=0)  # expect: mutation writer=torch
features.flush()
print(np.fromfile(path, dtype=np.float32)[:3])
