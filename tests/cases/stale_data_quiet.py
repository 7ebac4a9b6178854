"""Writes through .data that break nothing: after backward, undone before it, or of memory that no graph has saved."""
import torch

weight = torch.nn.Parameter(torch.ones(50))
rate = 0.1
for _ in range(3):
    loss = (weight * weight).sum()
    loss.backward()
    weight.data -= rate * weight.grad
    weight.grad.data.zero_()

shadow = [weight.data.clone()]
loss = (weight * weight).sum()
kept = weight.data.clone()
weight.data.copy_(shadow[0] * 2)
validation = (weight * 3).sum().data
weight.data.copy_(kept)
loss.backward()

online, target = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
loss = online(torch.ones(2, 4)).pow(2).sum()
for ours, theirs in zip(target.parameters(), online.parameters(), strict=True):
    ours.data.mul_(0.9).add_(theirs.data, alpha=0.1)
target.weight.data = online.weight.data
loss.backward()

inputs = torch.ones(3)
loss = (weight[:3] * inputs).sum()
shown = inputs.data.sum()
weight.grad = None
weight.data = weight.data.clone()
loss.backward()
print(float(validation) > 0, float(shown))  # expect: read
