"""A buffer is filled again in each turn; from the sixth on it is clipped as well, between forward and backward."""

import numpy as np
import torch

buffer = np.zeros((16, 8), dtype=np.float32)
batch = torch.from_numpy(buffer)  # expect: alias
model = torch.nn.Linear(8, 1)


def clip():
    np.clip(buffer, -0.5, 0.5, out=buffer)  # maybe: mutation writer=numpy


for step in range(60):
    buffer[:] = step % 7 - 3.5  # expect: mutation writer=numpy
    loss = model(batch).square().mean()
    if step > 5:
        clip()
    model.zero_grad()
    loss.backward()  # expect: hazard type=stale-gradient
