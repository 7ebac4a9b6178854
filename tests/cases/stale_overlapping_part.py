"""Two parts of one array overlap: the one that is written is not the one that was saved."""
import numpy as np
import torch

a = np.ones(6, dtype=np.float32)
t1 = torch.from_numpy(a[:4])  # expect: alias
t2 = torch.from_numpy(a[2:])  # expect: alias
w = torch.ones(4, requires_grad=True)
loss = (w * t1).sum()


def other():
    t2.add_(5)  # expect: mutation writer=torch


other()
loss.backward()  # expect: hazard type=stale-gradient
print(w.grad)
