"""The read at hand looks at the newborn each turn."""
import numpy as np
import torch

a = np.zeros(1, dtype=np.float32)
t = torch.from_numpy(a)  # expect: alias
for _ in range(3):
    t.item()  # expect: read
    a += 1  # expect: mutation writer=numpy
