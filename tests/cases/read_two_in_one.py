"""The same on the host: reads."""
import torch

loss = torch.full((), 0.5)
correct = torch.full((), 3)
print("%d right, loss %.3f" % (correct, loss))  # expect: read
x = torch.arange(6.0)
x[x > 2] += 1
print(x.sum().item())  # expect: read
