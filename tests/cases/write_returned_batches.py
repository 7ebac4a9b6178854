"""A buffer that is refilled while the tensors made of it are kept; the function returns before anybody looks."""
import numpy as np
import torch

images = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


def batches():
    buffer = np.zeros((10, 4), dtype=np.float32)
    shown = []
    batch = torch.from_numpy(buffer)  # expect: alias
    for start in range(0, 30, 10):
        buffer[:] = images[start : start + 10]  # expect: mutation writer=numpy
        shown.append(batch)
    return shown


kept = batches()
weight = torch.ones(4, requires_grad=True)
(kept[0] @ weight).sum().backward()
print(len({one.sum().item() for one in kept}))  # expect: read
