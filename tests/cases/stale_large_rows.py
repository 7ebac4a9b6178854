"""Backward needs rows 500 to 515 of 256 KiB; NumPy writes the first and the last one, then those rows themselves."""
import numpy as np
import torch

ring = np.ones((1024, 64), np.float32)
shared = torch.from_numpy(ring)  # expect: alias
model = torch.nn.Linear(64, 1)
for step in range(3):
    loss = model(shared[500:516]).pow(2).mean()
    ring[0] = step  # maybe: mutation writer=numpy
    ring[-1] = step  # maybe: mutation writer=numpy
    loss.backward()
