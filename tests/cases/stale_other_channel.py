"""Interleaved channels: one is on its way through the network, the other one is refilled meanwhile."""
import numpy as np
import torch

stereo = np.ones((500, 2), dtype=np.float32)
both = torch.from_numpy(stereo)  # expect: alias
gain = torch.ones(500, requires_grad=True)
loss = (both[:, 0] * gain).sum()
print(both[0].tolist())  # expect: read
stereo[:, 1] = 0.25  # expect: mutation writer=numpy
print(both[0].tolist())  # expect: read
loss.backward()
print(gain.grad[0].item())  # expect: read
gain.grad = None
loss = (both.T[0] * gain).sum()
print(both[0].tolist())  # expect: read
stereo[:, 1] = 0.75  # expect: mutation writer=numpy
print(both[0].tolist())  # expect: read
loss.backward()
print(gain.grad[0].item())  # expect: read
