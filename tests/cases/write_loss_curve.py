"""A running loss is added up in place and its array appended: the curve is flat."""
import torch

torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
running = torch.zeros(1)
curve = []
for epoch in range(4):
    for _ in range(2):
        loss = model(torch.randn(5, 3)).pow(2).mean()
        running += loss.detach()  # expect: mutation writer=torch
    curve.append(running.numpy())  # expect: alias
print(len({float(point[0]) for point in curve}))
