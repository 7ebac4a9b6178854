"""The same without a name for the array: it lives for one statement only."""
import torch

torch.manual_seed(0)
gate = torch.nn.Parameter(torch.full((400,), 0.5))
inputs = torch.ones(400, requires_grad=True)
loss = (inputs * gate).sum()
gate.detach().numpy()[:] = 50.0  # expect: alias ; mutation writer=numpy
loss.backward()  # expect: hazard type=stale-gradient
print(inputs.grad[0].item())  # expect: read
