"""An array is written through a tensor that is gone when the array grows: NumPy resizes no array that somebody else holds."""

import numpy as np
import torch

log = np.zeros(4, dtype=np.float32)
for turn in range(1, 6):
    log[-1] = turn
    tensor = torch.from_numpy(log)  # expect: alias
    tensor.mul_(0.5)  # maybe: mutation writer=torch
    del tensor
    log.resize(len(log) + 4)
print(log.shape)
