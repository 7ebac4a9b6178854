"""PyTorch writes through a second tensor of the same memory, which has a counter of its own."""

import numpy as np
import torch

array = np.zeros(16, dtype=np.float32)
tensor = torch.from_numpy(array)  # expect: alias
other = torch.from_dlpack(tensor)  # maybe: alias
tensor.sum().item()
other.add_(1)  # expect: mutation writer=torch
print(tensor.sum().item(), array[0])
