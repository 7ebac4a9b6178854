"""Memory is taken away under an array: resize_ of a tensor, resize_ of a storage. (Nothing is touched afterwards.)"""
import numpy as np
import torch

scores = torch.zeros(100)
borrowed = np.from_dlpack(scores)  # expect: alias
scores.resize_(200_000)  # expect: hazard type=dangling-alias
logits = torch.zeros(3000)
lent = np.from_dlpack(logits)  # expect: alias
logits.untyped_storage().resize_(0)  # expect: hazard type=dangling-alias
print(borrowed.shape, lent.shape)
