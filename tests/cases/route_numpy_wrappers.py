"""NumPy's own functions take a tensor as it is: what comes back may be the tensor's memory, as array or as tensor."""
import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")
signal = torch.zeros(16)
line = np.ravel(signal)  # expect: alias
row = np.atleast_2d(signal)  # expect: alias
same = np.asanyarray(signal)  # expect: alias
grid = np.reshape(signal, (4, 4))  # expect: alias
same[5] = 2.0  # expect: mutation writer=numpy
print(signal[5].item())  # expect: read
double = np.asarray(signal, dtype=np.float64)
double += 1
copied = np.array(signal)
copied += 1
print(row.shape, grid[1, 1].item(), line.shape)  # expect: read
