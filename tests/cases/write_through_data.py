"""Shared memory written through .data, also where no line near the write shows the word; NumPy's writes beside it stay NumPy's."""
import numpy as np
import torch


def halve(parameter):
    parameter.data.mul_(0.5)  # expect: mutation writer=torch


def touch(array):
    array += 1  # expect: mutation writer=numpy


weight = torch.nn.Parameter(torch.ones(40, 40))
seen = weight.detach().numpy()  # expect: alias
halve(weight)
print(weight[0, 0].item())  # expect: read
touch(seen)
print(weight[0, 0].item())  # expect: read

source = np.zeros(300, dtype=np.float32)
inputs = torch.from_numpy(source)  # expect: alias
plain = inputs.data
plain.add_(1)  # expect: mutation writer=torch
print(inputs[0].item())  # expect: read
source[:] = 5  # expect: mutation writer=numpy
print(inputs[0].item(), source[0])  # expect: read
