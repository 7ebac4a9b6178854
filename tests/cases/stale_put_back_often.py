"""A gradient check: each weight is shifted through its array, looked at, and put back, all between forward and backward."""

import torch

weight = torch.ones(40, requires_grad=True)
factor = torch.arange(40.0)
loss = (weight * weight * factor).sum()
flat = weight.detach().numpy()  # expect: alias
slopes = []
for index in range(40):
    before = flat[index]
    flat[index] = before + 0.5  # maybe: mutation writer=numpy
    slopes.append((weight * weight * factor).sum().item())  # expect: read
    flat[index] = before  # maybe: mutation writer=numpy
loss.backward()
print(weight.grad.tolist() == [2.0 * index for index in range(40)], len(slopes))  # expect: read
