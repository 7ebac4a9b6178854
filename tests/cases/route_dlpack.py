"""DLPack hands memory over in both directions, read-only memory too."""
import numpy as np
import torch

weights = torch.arange(2048.0)
view = np.from_dlpack(weights)  # expect: alias
view[3] = -1.0  # expect: mutation writer=numpy
print(weights[3].item())  # expect: read

table = np.linspace(0, 1, 1500)
table.flags.writeable = False
imported = torch.from_dlpack(table)  # expect: alias
imported.mul_(0)  # expect: mutation
print(table.sum())
