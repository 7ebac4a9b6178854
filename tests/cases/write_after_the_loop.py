"""Two lines write: one in a loop, where it is found as an interval, one once after it, which is no explanation of the first."""
import numpy as np
import torch

batch = np.ones(3, dtype=np.float32)
for step in range(3):
    batch[:] = step  # expect: mutation writer=numpy
    inputs = torch.from_numpy(batch)  # expect: alias
print(inputs.sum().item())  # expect: read
batch[:] = 9.0  # expect: mutation writer=numpy
print(inputs.sum().item())  # expect: read
