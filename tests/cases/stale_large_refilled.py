"""A batch of 512 KiB is filled again between forward and backward: all of it is another one, and the gradients are wrong."""
import numpy as np
import torch

buffer = np.ones((2048, 64), np.float32)
batch = torch.from_numpy(buffer)  # expect: alias
model = torch.nn.Linear(64, 1)
for step in range(3):
    loss = model(batch).pow(2).mean()
    buffer[:] = np.random.default_rng(step).random(buffer.shape, np.float32)  # expect: mutation writer=numpy
    loss.backward()  # expect: hazard type=stale-gradient
