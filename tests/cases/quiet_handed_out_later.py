"""Weights that only their tensor holds are trained; the array is taken after the last write, and nothing is written then."""
import numpy as np
import torch


def start():
    return np.random.default_rng(0).random((6, 10)).astype(np.float32)


weights = torch.from_numpy(start()).requires_grad_()  # maybe: alias
inputs = torch.ones(3, 6)
for step in range(60):
    (inputs @ weights).pow(2).mean().backward()
    with torch.no_grad():
        weights -= 0.1 * weights.grad
        weights.grad = None
final = weights.detach().numpy()  # maybe: alias
print(final.shape, weights.detach().numpy().shape)  # maybe: alias
