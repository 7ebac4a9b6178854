"""A name is bound to the next alias while a graph still holds the one before: the loop has turned, what stands between did not."""

import numpy as np
import torch

stage = np.empty((4, 8), dtype=np.float32)
weight = torch.ones(8, requires_grad=True)
for step in range(20):
    losses = []
    for part in range(2):
        stage[:] = part + 1 + 10 * step  # expect: mutation writer=numpy
        batch = torch.from_numpy(stage)  # expect: alias
        losses.append((batch * weight).sum())
    weight.grad = None
    (losses[0] + losses[1]).backward()  # expect: hazard type=stale-gradient
    print(step, weight.grad[0].item())  # expect: read
