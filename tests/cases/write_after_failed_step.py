"""A step that raises is over: what is written later is not PyTorch's."""
import numpy as np
import torch

buf = np.zeros(3)
t = torch.from_numpy(buf)  # expect: alias
p = torch.nn.Parameter(torch.ones(2))


class Own(torch.optim.SGD):
    def step(self):
        raise RuntimeError("inf gradient, skip")


opt = Own([p], lr=0.1)
try:
    opt.step()
except RuntimeError as e:
    print(e)


def later(i):
    buf[0] = i + 1  # expect: mutation writer=numpy


for i in range(3):
    later(i)
    print(t.sum())
