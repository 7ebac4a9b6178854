"""The best state_dict, kept as it is, has followed the live weights when it is loaded; a deep copy has not."""
import copy
import io

import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).pow(2).mean().backward()
        optimizer.step()


safe = copy.deepcopy(model.state_dict())
train(1)
model.eval()
best = model.state_dict()  # expect: alias
target = torch.nn.Linear(8, 8)
loss = model(torch.randn(4, 8)).pow(2).mean()
loss.backward()
optimizer.step()  # expect: mutation writer=torch
train(2)
model.load_state_dict(best)  # expect: hazard type=followed-state
train(1)
model.load_state_dict(safe)

first = {"model": model[2].state_dict(), "epoch": 0}  # expect: alias
fused = torch.optim.Adam(model[2].parameters(), fused=True)
model[2](torch.ones(2, 8)).sum().backward()
fused.step()  # expect: mutation writer=torch
torch.save(first, io.BytesIO())  # expect: hazard type=followed-state
