"""Parameters that are views of one flat vector, by ``.data =``: each keeps its own version counter, and torch is the writer."""
import numpy as np
import torch

theta = np.zeros(6, dtype=np.float32)
flat = torch.from_numpy(theta)  # expect: alias
weight, bias = torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.zeros(2))
weight.data = flat[:4]
bias.data = flat[4:]
print(flat.sum().item())  # expect: read
for turn in range(3):
    with torch.no_grad():
        weight.add_(1)  # expect: mutation writer=torch
    print(flat.sum().item())  # expect: read
theta[5] = 7  # expect: mutation writer=numpy
print(flat.sum().item())  # expect: read
kept = torch.zeros(8)
array = kept.numpy()  # expect: alias
other = torch.nn.Parameter(torch.zeros(8))
other.data = kept
with torch.no_grad():
    other.mul_(0).add_(2)  # expect: mutation writer=torch
print(array.sum(), kept.sum().item())  # expect: read
