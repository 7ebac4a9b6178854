"""One column of a table is a tensor; a loop corrects it row by row."""
import numpy as np
import torch

table = np.zeros((40, 5))
column = torch.from_numpy(table[:, 2])  # expect: alias
for row in range(1, 6):
    table[row, 2] = row / 2  # expect: mutation writer=numpy
print(column.sum().item())  # expect: read
for row in range(20, 25):
    table[row, 3] = 1.0
print(column.sum().item())  # expect: read
