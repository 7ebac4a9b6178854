# exact-only
"""Exact mode searches each graph, however many there were before."""

import numpy as np
import torch

buffer = np.zeros((16, 8), dtype=np.float32)
batch = torch.from_numpy(buffer)  # expect: alias
model = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(12)], torch.nn.Linear(8, 1))
for step in range(600):
    buffer[:] = step % 5  # expect: mutation writer=numpy
    loss = model(batch).square().mean()
    if step == 590:
        buffer[3] = -1  # expect: mutation writer=numpy
    loss.backward()  # expect: hazard type=stale-gradient
