"""A hook of the step clips the weights with NumPy."""
# exact-only
import numpy as np
import torch

layer = torch.nn.Linear(3, 3)
weights = layer.weight.detach().numpy()  # expect: alias
opt = torch.optim.SGD(layer.parameters(), lr=0.5)


def keep_small(optimizer, args, kwargs):
    np.clip(weights, -0.05, 0.05, out=weights)  # expect: mutation writer=numpy


opt.register_step_post_hook(keep_small)
for _ in range(3):
    opt.zero_grad()
    layer(torch.ones(2, 3)).pow(2).sum().backward()
    opt.step()  # expect: mutation writer=torch
