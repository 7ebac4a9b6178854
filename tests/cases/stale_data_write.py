"""Weights are clipped through .data after the forward pass: no counter moves, the gradient is that of other weights."""
import torch

torch.manual_seed(0)
critic = torch.nn.Sequential(torch.nn.Linear(10, 10), torch.nn.ReLU(), torch.nn.Linear(10, 1))
for parameter in critic.parameters():
    torch.nn.init.constant_(parameter, 0.5)
score = critic(torch.ones(4, 10)).mean()
for parameter in critic.parameters():
    parameter.data.clamp_(-0.01, 0.01)
score.backward()  # expect: hazard type=stale-gradient
print(critic[0].weight.grad.shape)
