"""Sliding windows over a series share the series; one sample is corrected later."""
import numpy as np
import torch

series = np.arange(2000, dtype=np.float32)
windows = np.lib.stride_tricks.sliding_window_view(series, 100)[::100]
batch = torch.from_numpy(np.lib.stride_tricks.as_strided(series, (20, 100), (400, 4)))  # expect: alias
copied = torch.tensor(windows)
before = batch[3].mean().item()  # expect: read
series[350] = -1e6  # expect: mutation writer=numpy
print(before == batch[3].mean().item(), copied[3].mean().item() == before, windows.shape)  # expect: read
