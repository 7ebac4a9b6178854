"""Frames are read into one buffer; the loss of the frame before is still waiting for its backward pass."""
import numpy as np
import torch

buffer = np.zeros((64, 32), dtype=np.float32)
source = np.random.default_rng(0)
layer = torch.nn.Linear(32, 1)
optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)


def next_frame():
    source.standard_normal(out=buffer, dtype=np.float32)  # expect: mutation writer=numpy
    return torch.from_numpy(buffer)  # expect: alias


pending = layer(next_frame()).square().mean()
for _ in range(3):
    following = layer(next_frame()).square().mean()
    optimizer.zero_grad()
    pending.backward()  # expect: hazard type=stale-gradient
    pending = following
print(layer.weight.grad is not None)
