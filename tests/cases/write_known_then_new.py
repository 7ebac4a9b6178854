"""Four thousand short steps that refill one buffer; boundaries rest once its line is known. Then something new is written."""
import numpy as np
import torch

KNOWN = 4000
torch.manual_seed(0)
layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(layers.parameters(), lr=1e-4)
buffer, targets = np.ones((2, 4), np.float32), np.ones((2, 1), np.float32)
batch = torch.from_numpy(buffer)  # expect: alias
wanted = torch.from_numpy(targets)  # expect: alias
for turn in range(KNOWN + 400):
    np.add(buffer, 1e-4, out=buffer)  # expect: mutation writer=numpy
    loss = (layers(batch) - wanted).square().sum()
    if turn >= KNOWN:
        targets *= 0.999  # expect: mutation writer=numpy
    optimizer.zero_grad()
    loss.backward()  # maybe: hazard type=stale-gradient
    optimizer.step()
