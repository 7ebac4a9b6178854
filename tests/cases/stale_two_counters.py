"""Two tensors of one array: the one that is written is not the one that was saved, and its counter is another."""
import numpy as np
import torch

a = np.ones(3, dtype=np.float32)
t1 = torch.from_numpy(a)  # expect: alias
t2 = torch.from_numpy(a)  # expect: alias
w = torch.ones(3, requires_grad=True)
loss = (w * t1).sum()


def other():
    t2.add_(5)  # expect: mutation writer=torch


other()
loss.backward()  # expect: hazard type=stale-gradient
print(w.grad)
