"""NumPy asks a tensor of indices for one index first and for an array then: nothing was refused. A list does refuse it."""
import numpy as np
import torch

labels, names = np.arange(10), ["a", "b", "c"]
index, mask = torch.tensor([0, 2]), torch.arange(10) > 5
picked = labels[index]
chosen = labels[mask].tolist()
labels[index] = -1
pair = np.zeros((3, 3))[index, 1]
try:
    names[index]  # expect: refusal
except TypeError as error:
    print(error)
again = labels[index]
try:
    np.zeros(index)  # expect: refusal
except TypeError as error:
    print(error)
print(picked, chosen, pair, again)
