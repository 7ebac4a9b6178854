"""A write over most of a large array, by page faults, spoils a gradient of memory far behind its first page."""
import numpy as np
import torch

N = 200_000
buffer = np.ones(N, dtype=np.float32)
x = torch.from_numpy(buffer)  # expect: alias
w = torch.ones(N // 2, requires_grad=True)
for i in range(4):
    loss = (w * x[50_000:150_000]).sum()
    buffer[3000:190_000] += np.float32(0.5)  # expect: mutation writer=numpy
    loss.backward()  # expect: hazard type=stale-gradient
    print(w.grad[:2].tolist())
    w.grad = None
