"""A ring is filled at each turn and learnt from at each fourth: between two backwards the loop turns and passes neither."""
import numpy as np
import torch

ring = np.zeros((100, 4), np.float32)
view = torch.from_numpy(ring)  # expect: alias
weight = torch.ones(4, requires_grad=True)
random = np.random.default_rng(0)


def train():
    for step in range(8):
        ring[step % 100] = random.random(4)  # expect: mutation writer=numpy
        if step == 0:
            (weight * view[:16]).sum().backward()
        if step == 7:
            (view[:16] * weight).sum().backward()


train()
