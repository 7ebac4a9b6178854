"""A tensor of the first rows only is kept; the others are normalised in place, and every second column filled."""

import numpy as np
import torch

rng = np.random.default_rng(0)
data = rng.random((50, 8), dtype=np.float32)
train = torch.from_numpy(data)[:40]  # maybe: alias
data[40:] -= data[40:].mean(axis=0)
data[40:] /= data[40:].std(axis=0)
total = train.sum().item()

grid = np.zeros((6, 6), dtype=np.float32)
corners = torch.from_numpy(grid)[::2, ::2]  # maybe: alias
grid[1::2] = 5
grid[:, 1::2] = 7
print(total > 0, corners.sum().item())
