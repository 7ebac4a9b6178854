"""Saving, loading, copying, comparing: memory is read and made, not written."""
import copy
import io
import pickle

import numpy as np
import torch

array = np.arange(900, dtype=np.float32)
shared = torch.from_numpy(array)  # expect: alias
stream = io.BytesIO()
torch.save({"shared": shared}, stream)
stream.seek(0)
loaded = torch.load(stream)["shared"]
loaded += 1
duplicate = copy.deepcopy(shared)
duplicate.zero_()
revived = pickle.loads(pickle.dumps(array))
revived[:] = 0
stored = io.BytesIO()
np.save(stored, shared)
stored.seek(0)
fresh = np.load(stored)
fresh.fill(3)
halves = np.split(array.copy(), 2)
halves[0][:] = 1
print(torch.equal(shared, torch.arange(900.0)), array.sum())
