"""A hook of backward clips with NumPy, in the closure of a step: it is not PyTorch that writes there."""
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 1, bias=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
shadow = model.weight.data.numpy()  # expect: alias


def clip(grad):
    shadow[0, 0] = 0.25  # expect: mutation writer=numpy


def closure():
    optimizer.zero_grad()
    loss = (model.weight * torch.ones(4)).sum()
    loss.backward()
    return loss


model.weight.register_hook(clip)
for _ in range(6):
    shadow[0, 0] = 0.5  # expect: mutation writer=numpy
    optimizer.step(closure)  # expect: mutation writer=torch
