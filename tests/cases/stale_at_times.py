"""Every second backward uses overwritten weights: the retained graph of the one before."""

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
views = [parameter.detach().numpy() for parameter in net.parameters()]  # expect: alias
inputs = torch.randn(32, 4)
for _ in range(10):
    out = net(inputs)
    for head in range(2):
        net.zero_grad()
        out[:, head].pow(2).mean().backward(retain_graph=head == 0)  # expect: hazard type=stale-gradient count=10
        for view in views:
            view *= 0.99  # expect: mutation writer=numpy
print(out.shape)
