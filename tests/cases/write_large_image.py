"""Writes between evaluation passes break nothing: no graph was made."""
import numpy as np
import torch

image = np.zeros((1, 3, 32, 32), dtype=np.float32)
tensor = torch.from_numpy(image)  # expect: alias
net = torch.nn.Conv2d(3, 2, 3)
outs = []
with torch.no_grad():
    for value in (0.1, 0.2, 0.3):
        image.fill(value)  # expect: mutation writer=numpy
        outs.append(net(tensor).mean().item())  # expect: read
loss = net(tensor.clone()).mean()
image[:] = 0.0  # expect: mutation writer=numpy
loss.backward()
print(len(set(outs)), tensor.sum().item())  # expect: read
