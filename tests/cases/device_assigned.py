"""A device result is stored by index: PyTorch is the writer, whatever the layer."""
# run: --simulate cuda
import numpy as np
import torch

store_np = np.zeros((4, 5), np.float32)
store = torch.from_numpy(store_np)  # expect: alias
for t in range(4):
    store[t] = torch.full((5,), t + 1.0, device="cuda")  # expect: transfer direction=d2h count=4 ; mutation writer=torch
print(store_np.sum())
