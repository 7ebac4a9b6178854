"""An array made only to be wrapped has no other name: what the tensor does with it concerns nobody."""
import numpy as np
import torch

generator = np.random.default_rng(0)
weights = torch.from_numpy(generator.normal(size=(30, 40)))  # maybe: alias
weights.mul_(0.1).clamp_(-1, 1)
noise = [torch.from_numpy(generator.random(500, dtype=np.float32)) for _ in range(3)]  # maybe: alias
for tensor in noise:
    tensor -= 0.5
loaded = torch.from_numpy(np.frombuffer(bytes(400), dtype=np.float32).copy())  # maybe: alias
loaded += 1
print(weights.shape, len(noise), loaded.shape)
