"""A log of gradients, kept as arrays: zero_grad wipes it and the next backward adds to it."""
import torch

torch.manual_seed(0)
layer = torch.nn.Linear(12, 1, bias=False)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
log = []
for step in range(3):
    optimizer.zero_grad(set_to_none=False)  # expect: mutation writer=torch
    layer(torch.full((2, 12), float(step + 1))).sum().backward()  # expect: mutation writer=torch
    log.append(layer.weight.grad.numpy())  # expect: alias
print([gradient[0, 0] for gradient in log])
