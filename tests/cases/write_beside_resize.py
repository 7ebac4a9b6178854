"""An array of one's own is resized while writes to another are followed: NumPy counts references, and must find none of ours."""
import numpy as np
import torch

shared = np.zeros(10, dtype=np.float32)
for _ in range(4):
    tensor = torch.from_numpy(shared)  # expect: alias
    shared += 1  # expect: mutation writer=numpy
    grown = np.arange(4.0)
    grown.resize(8)
    print(tensor.sum().item(), grown.shape)  # expect: read
