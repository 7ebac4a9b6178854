"""A custom function keeps its mask as an attribute of the context: what autograd does not know it cannot check."""

import numpy as np
import torch


class Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, mask):
        ctx.mask = mask
        return values * mask

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.mask, None


rng = np.random.default_rng(0)
buffer = np.ones(64, dtype=np.float32)
mask = torch.from_numpy(buffer)  # expect: alias
weight = torch.ones(64, requires_grad=True)
for _ in range(5):
    loss = Masked.apply(weight * 2, mask).sum()
    np.copyto(buffer, rng.random(64) < 0.5)  # expect: mutation writer=numpy
    loss.backward()  # expect: hazard type=stale-gradient
print(weight.grad.sum().item() < 640)
