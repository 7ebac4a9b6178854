"""A single number on the host that is assigned through a mask or into a slice is read there and filled in: nothing moves."""
# run: --simulate cuda

import torch

x = torch.zeros(6, 4, device="cuda")
number, one = torch.tensor(2.0), torch.tensor([3.0])
mask = torch.ones(6, 4, dtype=torch.bool, device="cuda")
rows = torch.arange(2, device="cuda")
x[mask] = number
x[mask] = one
x[2] = number
x[:, 1] = number
x[mask[:, 0], 1] = number
x[None] = number
x[0, 0] = number  # expect: transfer direction=h2d
x[rows] = number  # expect: transfer direction=h2d
x[1:3] = one  # expect: transfer direction=h2d
print(x.shape)
