"""The function that is applied to each element writes another array."""
import numpy as np
import torch

counts = np.zeros(3)
counts_t = torch.from_numpy(counts)  # expect: alias
t = torch.arange(3.0)
back = t.numpy()  # expect: alias


def cell(v):
    counts[0] += 1  # expect: mutation writer=numpy
    return v


for _ in range(3):
    t.apply_(cell)
print(counts_t, back)
