"""PyTorch's call in place changes no byte but moves the counter; what NumPy writes next is NumPy's, and breaks the gradient."""
# exact-only
import numpy as np
import torch

values = np.zeros(6, dtype=np.float32)
inputs = torch.from_numpy(values)  # expect: alias
weight = torch.ones(6, requires_grad=True)
inputs.zero_()
loss = (weight * inputs).sum()
values[3] = 9.0  # expect: mutation writer=numpy
loss.backward()  # expect: hazard type=stale-gradient
counts = np.zeros(6)
shared = torch.from_numpy(counts)  # expect: alias
for at in range(2):
    shared[4] += 1  # expect: mutation writer=torch
counts[1] += 1  # expect: mutation writer=numpy
print(weight.grad.tolist(), shared.sum().item())  # expect: read
