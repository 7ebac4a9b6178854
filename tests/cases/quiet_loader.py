"""Batches made by collating are copies: to augment them in place hurts nobody. Nor does moving what is there already."""
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

features = np.arange(240, dtype=np.float32).reshape(20, 12)
dataset = TensorDataset(torch.from_numpy(features), torch.zeros(20))  # expect: alias
totals = []
for _ in range(2):
    total = 0.0
    for inputs, target in DataLoader(dataset, batch_size=7):
        inputs = inputs.to("cpu").cpu().contiguous().float()
        inputs.mul_(0.5).add_(torch.rand_like(inputs).mul_(0))
        target += 1
        total += inputs.sum().item()  # expect: read
    totals.append(total)
print(totals[0] == totals[1], features[0, 1])
