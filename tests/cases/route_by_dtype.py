"""The same line shares or copies: it depends on the dtype of the file that was loaded."""
import numpy as np
import torch

files = {"new": np.zeros(900, dtype=np.float32), "old": np.zeros(900), "tiny": np.zeros(900, dtype=np.float16)}
loaded = {}
for name, array in files.items():
    loaded[name] = torch.as_tensor(array, dtype=torch.float32)  # expect: alias count=1
files["old"][:] = 1
files["tiny"][:] = 1
files["new"][:] = 1  # expect: mutation writer=numpy
print({name: tensor.sum().item() for name, tensor in loaded.items()})  # expect: read
