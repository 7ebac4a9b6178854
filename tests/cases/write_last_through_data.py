"""The last write through ``.data`` before the function returns, and the memory is handed out again by its caller."""

import numpy as np
import torch


def descend(start):
    x = torch.from_numpy(start)  # expect: alias
    x.requires_grad_()
    for _ in range(5):
        (slope,) = torch.autograd.grad(x.pow(2).sum(), x)
        x.data -= 0.1 * slope  # expect: mutation writer=torch
    return x.detach()


starts = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
far = [float(np.abs(descend(start).numpy()).max()) for start in starts]  # expect: alias
print(len(far))
