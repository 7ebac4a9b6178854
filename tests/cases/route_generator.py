"""A generator of windows over one scratch array; the consumer keeps what it was lent."""
import numpy as np
import torch


def windows(series, size):
    scratch = np.empty(size, dtype=np.float32)
    for start in range(0, len(series) - size + 1, size):
        scratch[:] = series[start : start + size]  # expect: mutation writer=numpy
        yield torch.from_numpy(scratch)  # expect: alias


series = np.arange(5000, dtype=np.float32)
kept = [window for window in windows(series, 1000)]
print([window[0].item() for window in kept])  # expect: read
