"""Writes that spoil no gradient: before the forward pass, after backward, into what backward does not need."""
import numpy as np
import torch

offsets = np.ones(2500, dtype=np.float32)
scales = np.ones(2500, dtype=np.float32)
offset = torch.from_numpy(offsets)  # expect: alias
scale = torch.from_numpy(scales)  # expect: alias
weight = torch.ones(2500, requires_grad=True)
scales[:] = 2.0  # expect: mutation writer=numpy
loss = (weight * scale + offset).sum()
offsets[:] = 5.0  # expect: mutation writer=numpy
loss.backward()
print(weight.grad[0].item(), scale.tolist()[0])  # expect: read
scales[:] = 3.0  # expect: mutation writer=numpy
print(weight.grad[0].item(), scale.tolist()[0])  # expect: read
