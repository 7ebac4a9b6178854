"""Noise is drawn into one block and handed on as a tensor; a permutation is shuffled in place."""
import numpy as np
import torch

generator = np.random.default_rng(0)
noise = np.empty(2048, dtype=np.float32)
order = np.arange(500)
drawn = []
for _ in range(3):
    generator.random(out=noise, dtype=np.float32)  # expect: mutation writer=numpy
    drawn.append(torch.from_numpy(noise))  # expect: alias
index = torch.as_tensor(order)  # expect: alias
first = index[:5].tolist()  # expect: read
generator.shuffle(order)  # expect: mutation writer=numpy
print(index[:5].tolist() == first, len({tensor[0].item() for tensor in drawn}))  # expect: read
