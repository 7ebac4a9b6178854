"""PyTorch itself sees this one: its error passes, and nothing is added to it."""
import numpy as np
import torch

buffer = np.ones(2000, dtype=np.float32)
inputs = torch.from_numpy(buffer)  # expect: alias
weight = torch.ones(2000, requires_grad=True)
loss = (weight * inputs).sum()
inputs.mul_(2.0)  # expect: mutation writer=torch
try:
    loss.backward()
except RuntimeError as error:
    print("modified by an inplace operation" in str(error), weight.grad)
