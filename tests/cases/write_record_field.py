"""One field of a record array is the network's input; the others are written all the time."""
import numpy as np
import torch

particles = np.zeros(400, dtype=[("x", "f4"), ("y", "f4"), ("hits", "i4")])
xs = torch.from_numpy(particles["x"])  # expect: alias
particles["y"] = 3.0
particles["hits"] += 1
print(xs.sum().item())  # expect: read
particles["x"][10:20] = 5.0  # expect: mutation writer=numpy
print(xs.sum().item())  # expect: read
particles[30] = (1.0, 2.0, 3)  # expect: mutation writer=numpy
print(xs.sum().item())  # expect: read
particles.sort(order=["x"])  # expect: mutation writer=numpy
print(xs[0].item())  # expect: read
for record in particles[:3]:
    record["x"] = -1.0  # expect: mutation writer=numpy
print(xs.min().item())  # expect: read
