"""A copy that is asked for by DLPack shares with nobody, whoever else has the memory."""
import numpy as np
import torch

tensor = torch.ones(4)
back = np.from_dlpack(tensor)  # expect: alias
own = np.from_dlpack(tensor, copy=True)
own[0] = 5
print(tensor.sum().item(), back.sum(), own.sum())  # expect: read
