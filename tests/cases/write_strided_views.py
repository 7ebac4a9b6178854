"""Arrays of transposed, expanded, diagonal and sliced tensors follow the tensor that was written."""
import numpy as np
import torch

grid = torch.zeros(12, 20)
turned = grid.T.numpy()  # expect: alias
diagonal = grid.diagonal().numpy()  # expect: alias
coarse = grid[::3, 1::4].numpy()  # expect: alias
row = torch.zeros(1, 6)
tiled = row.expand(5, 6).numpy()  # expect: alias
row[0, 2] = 4.0  # expect: mutation writer=torch
print(tiled[:, 2], row.sum().item())  # expect: read
grid[3, 5] = 1.0  # expect: mutation writer=torch
print(turned[5, 3], coarse[1, 1], grid.sum().item())  # expect: read
grid.diagonal().add_(2)  # expect: mutation writer=torch
print(diagonal, grid.trace().item())  # expect: read
coarse += 1  # expect: mutation writer=numpy
print(grid.sum().item(), turned.sum())  # expect: read
blocks = np.lib.stride_tricks.sliding_window_view(turned, 3, axis=0, writeable=True)
blocks[0, 0, 1] = 50.0  # expect: mutation writer=numpy
print(grid.max().item())  # expect: read
