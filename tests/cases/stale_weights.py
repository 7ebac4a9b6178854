"""Weights are pruned through NumPy between forward and backward: the gradient of the layer before is wrong."""
import torch

torch.manual_seed(0)
first, second = torch.nn.Linear(30, 30, bias=False), torch.nn.Linear(30, 30, bias=False)
for layer in (first, second):
    torch.nn.init.ones_(layer.weight)
loss = second(torch.tanh(first(torch.full((1, 30), 0.01)))).sum()
pruned = second.weight.detach().numpy()  # expect: alias
pruned[pruned > 0.5] = 0.0  # expect: mutation writer=numpy
loss.backward()  # expect: hazard type=stale-gradient
print(first.weight.grad.abs().sum().item())  # expect: read
