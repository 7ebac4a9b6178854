"""A function applied to each element writes a tensor that a graph has saved; no counter moves."""
import torch

t = torch.arange(3.0)
back = t.numpy()  # expect: alias
w = torch.ones(3, requires_grad=True)
loss = (w * t).sum()


def double():
    t.apply_(lambda v: v * 10)  # expect: mutation writer=torch


double()
loss.backward()  # expect: hazard type=stale-gradient
print(w.grad)
