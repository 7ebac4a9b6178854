"""Two forward passes of one buffer that is filled anew for each, and one backward for both: the first one's values are gone."""

import numpy as np
import torch

stage = np.empty((4, 8), dtype=np.float32)
weight = torch.ones(8, requires_grad=True)


def batches(step):
    for part in range(4):
        stage[:] = part + 1 + 10 * step  # expect: mutation writer=numpy
        yield torch.from_numpy(stage)  # expect: alias


for step in range(20):
    losses = []
    for batch in batches(step):
        losses.append((batch * weight).sum())
        if len(losses) == 2:
            weight.grad = None
            torch.stack(losses).sum().backward()  # expect: hazard type=stale-gradient
            print(step, weight.grad[0].item())  # expect: read
            losses.clear()
