"""An optimizer of the user's own writes an array in its step, which is no tensor's of PyTorch's."""
import numpy as np
import torch

count = np.zeros(1)
count_t = torch.from_numpy(count)  # expect: alias


class Own(torch.optim.Optimizer):
    def step(self):
        count[0] += 1  # expect: mutation writer=numpy


opt = Own([torch.nn.Parameter(torch.ones(2))], {})
for _ in range(4):
    opt.step()
print(count_t)
