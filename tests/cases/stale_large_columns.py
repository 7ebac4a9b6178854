"""Backward needs columns 0 to 47 of 256 KiB, NumPy writes column 63: what is known of large memory proves nothing wrong."""
import numpy as np
import torch

table = np.ones((1024, 64), np.float32)
shared = torch.from_numpy(table)  # expect: alias
model = torch.nn.Linear(48, 1)
for step in range(3):
    loss = model(shared[:, :48]).pow(2).mean()
    table[:, 63] = step  # maybe: mutation writer=numpy
    loss.backward()
