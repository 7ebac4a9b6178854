"""PyTorch writes in place before the forward pass, NumPy after it: one interval holds both, and the gradient is perhaps wrong."""
import numpy as np
import torch

frame = np.full(6, 255.0, dtype=np.float32)
inputs = torch.from_numpy(frame)  # expect: alias
weight = torch.ones(6, requires_grad=True)
inputs.div_(255)  # expect: mutation writer=torch
loss = (weight * inputs).sum()
frame[:] = 100.0  # expect[exact]: mutation writer=numpy
loss.backward()  # expect: hazard type=stale-gradient
print(weight.grad.tolist())
