"""Large memory: after one line was named another one writes, and the gradient it breaks is told, too."""
import numpy as np
import torch

N = 40_000
buffer = np.ones(N, dtype=np.float32)
x = torch.from_numpy(buffer)  # expect: alias
w = torch.ones(N, requires_grad=True)


def refill(i):
    buffer[:] = i  # expect: mutation writer=numpy


for i in range(2, 8):
    loss = (w * x).sum()
    loss.backward()
    w.grad = None
    refill(i)

for i in range(3):
    loss = (w * x).sum()
    buffer *= -1.0  # expect: mutation writer=numpy
    loss.backward()  # expect: hazard type=stale-gradient
    print(w.grad[0].item())
    w.grad = None
