"""Running statistics are decayed by NumPy between the forward passes that update them."""
import torch

norm = torch.nn.BatchNorm1d(300)
mean = norm.running_mean.numpy()  # expect: alias
for _ in range(3):
    norm(torch.randn(4, 300) + 2)  # expect: mutation writer=torch
    mean *= 0.5  # expect: mutation writer=numpy
print(mean.shape)
