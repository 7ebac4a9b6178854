"""Many aliases, looked at in turn."""
import numpy as np
import torch

arrays = [np.zeros(4, dtype=np.float32) for _ in range(40)]
tensors = [torch.from_numpy(a) for a in arrays]  # expect: alias
again = [torch.from_numpy(a) for a in arrays]  # expect: alias
torch.ones(2, requires_grad=True).sum().backward()
loss = torch.ones(1)
for _ in range(50):
    loss.item()  # expect: read
    loss.item()  # expect: read
    arrays[7] += 1  # expect: mutation writer=numpy
