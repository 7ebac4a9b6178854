"""A hook of the step fills a buffer again that a graph has saved."""
import numpy as np
import torch

buf = np.ones(4, dtype=np.float32)
target = torch.from_numpy(buf)  # expect: alias
a, b = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(4))
opt = torch.optim.SGD([a], lr=0.1)


def refresh(*_):
    buf[:] = 10  # expect: mutation writer=numpy


opt.register_step_post_hook(refresh)
first, second = (a * 2).sum(), (b * target).sum()
first.backward()
opt.step()
second.backward()  # expect: hazard type=stale-gradient
print(b.grad)  # tensor([10,10,10,10]), should be ones
