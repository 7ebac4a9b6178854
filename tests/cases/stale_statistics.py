"""BatchNorm's statistics are written while a graph has saved them."""
import torch
torch.manual_seed(0)

bn = torch.nn.BatchNorm1d(3, affine=False)
mean = bn.running_mean.numpy()  # expect: alias
w = torch.ones(3, requires_grad=True)
loss = (w * bn.running_mean).sum()


def other():
    bn(torch.randn(8, 3) + 5)  # expect: mutation writer=torch


other()
loss.backward()  # expect: hazard type=stale-gradient
print(w.grad)
