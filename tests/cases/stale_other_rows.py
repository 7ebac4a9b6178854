"""Only rows that no graph has seen are rewritten before backward: a write, and no broken gradient."""
import numpy as np
import torch

ring = np.ones((64, 32), dtype=np.float32)
tensor = torch.from_numpy(ring)  # expect: alias
weight = torch.ones(32, requires_grad=True)
loss = (tensor[:16] * weight).sum()
ring[16:] = 5.0  # expect: mutation writer=numpy
loss.backward()
print(weight.grad[0].item())  # expect: read
loss = (tensor[::2] * weight).sum()
ring[1::2] = 9.0  # expect: mutation writer=numpy
loss.backward()
print(weight.grad[0].item())  # expect: read
