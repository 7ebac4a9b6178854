"""Two halves of one buffer: one is trained on while the other is filled. The halves do not meet."""
import numpy as np
import torch

buffer = np.zeros((2, 5000), dtype=np.float32)
halves = [torch.from_numpy(half) for half in buffer]  # expect: alias count=2
weight = torch.ones(5000, requires_grad=True)
loss = (weight * halves[0]).sum()
buffer[1] = 4.0  # expect: mutation writer=numpy
loss.backward()
print(weight.grad[0].item(), halves[1].tolist()[0])  # expect: read
