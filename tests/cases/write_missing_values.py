"""Missing values are mended in place after the tensor was made."""
import numpy as np
import torch

table = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
table[::7, 2] = np.nan
features = torch.from_numpy(table)  # expect: alias
before = features.isnan().sum().item()  # expect: read
np.nan_to_num(table, copy=False, nan=0.0)  # expect: mutation writer=numpy
print(before, features.isnan().sum().item())  # expect: read
masked = np.ma.masked_greater(table, 1.5, copy=False)
masked[masked.mask] = 1.5  # expect: mutation writer=numpy
print(features.max().item())  # expect: read
np.ma.masked_less(table, -1.5, copy=False).data[0] = 7.0  # expect: mutation writer=numpy
print(features.max().item())  # expect: read
filled = np.ma.masked_less(table, -1.0).filled(0.0)
filled *= 3
print(features.max().item())  # expect: read
