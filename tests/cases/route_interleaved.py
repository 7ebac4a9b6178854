"""Every second sample is shared: writes in between touch other elements of the same span and are nobody's business."""
import numpy as np
import torch

stereo = torch.zeros(4000)
left = stereo[::2].numpy()  # expect: alias
stereo[1::2] = 0.25
table = np.zeros((300, 8), dtype=np.float32)
column = torch.from_numpy(table[:, 3])  # expect: alias
table[:, 4] = 1.0
table[:, :3] = 2.0
print(column.sum().item(), left.sum())  # expect: read
stereo[10] = 1.0  # expect: mutation writer=torch
print(stereo.sum().item())  # expect: read
table[7, 3] = 9.0  # expect: mutation writer=numpy
print(column[7].item())  # expect: read
