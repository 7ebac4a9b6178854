"""NumPy writes that are no assignment: copyto, out=, methods, put, boolean masks, views of views."""
import numpy as np
import torch

data = np.arange(3000.0)
shared = torch.from_numpy(data)  # expect: alias
np.copyto(data[:10], 5.0)  # expect: mutation writer=numpy
print(shared[0].item(), shared.sum().item())  # expect: read
np.add(data, 1.0, out=data)  # expect: mutation writer=numpy
print(shared[0].item(), shared.tolist()[1])  # expect: read
data[::-1].sort()  # expect: mutation writer=numpy
print(shared.max().item(), shared.tolist()[0])  # expect: read
np.put(data, [4, 5], [-1.0, -2.0])  # expect: mutation writer=numpy
print(shared[4].item(), shared.tolist()[4])  # expect: read
data[data < 0] = 0.0  # expect: mutation writer=numpy
print(shared.min().item(), shared.tolist()[4])  # expect: read
data.reshape(30, 100)[1:].T[0] = 77.0  # expect: mutation writer=numpy
print(shared[100].item(), shared.tolist()[100])  # expect: read
