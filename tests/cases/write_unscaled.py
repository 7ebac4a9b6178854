"""A gradient that an array shares is divided by the scaler's factor: PyTorch writes, although no counter moves."""

import torch

weight = torch.nn.Parameter(torch.ones(4))
optimizer = torch.optim.SGD([weight], lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
scaler.scale((weight * 3).sum()).backward()
seen = weight.grad.numpy()  # expect: alias
before = float(seen[0])
scaler.unscale_(optimizer)  # expect: mutation writer=torch
print(before, float(seen[0]))
