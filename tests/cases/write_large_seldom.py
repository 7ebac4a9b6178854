"""Large memory whose look does not fit into the time; the loop turns many times meanwhile."""
import numpy as np
import torch

big = np.zeros((64, 1 << 18), dtype=np.float32)
shared = torch.from_numpy(big)  # expect: alias
weight = torch.ones(256, requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=0.1)
for step in range(120):
    if step == 40:
        big[3, 5:900] = 7.0  # expect: mutation writer=numpy
    loss = (weight * 2).sum()
    loss.backward()
    optimizer.step()
    if step == 90:
        big[50, 100:200] += 1.0  # maybe: mutation writer=numpy
