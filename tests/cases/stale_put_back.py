"""An image is whitened for a preview, shown, and put back before backward needs it."""
import numpy as np
import torch

image = np.linspace(0, 1, 300, dtype=np.float32)
tensor = torch.from_numpy(image)  # expect: alias
weight = torch.ones(300, requires_grad=True)
loss = (weight * tensor).sum()
print(tensor.sum().item())  # expect: read
kept = image.copy()
image -= image.mean()  # expect: mutation writer=numpy
print(tensor.sum().item() < 1)  # expect: read
image[:] = kept  # expect: mutation writer=numpy
print(tensor.sum().item())  # expect: read
loss.backward()
print(torch.equal(weight.grad, torch.from_numpy(kept)))  # maybe: alias
