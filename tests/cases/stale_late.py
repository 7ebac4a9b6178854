"""Three thousand short steps in order, and then one that paints over its inputs: boundaries have been resting for long."""
import numpy as np
import torch

QUIET = 3000
torch.manual_seed(0)
layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(layers.parameters(), lr=1e-4)
inputs = np.ones((2, 4), np.float32)
shared = torch.from_numpy(inputs)  # expect: alias
for turn in range(QUIET + 200):
    loss = layers(shared).square().sum()
    value = loss.item()  # expect: read
    if turn >= QUIET:
        inputs += 1e-3  # expect: mutation writer=numpy
    optimizer.zero_grad()
    loss.backward()  # expect: hazard type=stale-gradient
    optimizer.step()
