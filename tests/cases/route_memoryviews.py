"""Arrays made of memoryviews: of a bytearray, of an array.array, of another array."""
from array import array

import numpy as np
import torch

chunk = bytearray(400)
decoded = torch.from_numpy(np.frombuffer(memoryview(chunk)[100:], dtype=np.float32))  # expect: alias
chunk[100:104] = np.float32(1.5).tobytes()  # expect: mutation
print(decoded[0].item())  # expect: read
samples = array("d", [0.0] * 30)
signal = torch.from_numpy(np.asarray(memoryview(samples)))  # expect: alias
samples[3] = 4.0  # expect: mutation
print(signal[3].item())  # expect: read
table = np.zeros((5, 6))
rows = torch.from_numpy(np.asarray(memoryview(table)[1:]))  # expect: alias
table[2] = 1.0  # expect: mutation writer=numpy
print(rows[1].sum().item())  # expect: read
cells = torch.from_numpy(np.frombuffer(memoryview(table), dtype=np.float64))  # expect: alias
table[4, 5] = 9.0  # expect: mutation writer=numpy
print(cells[-1].item())  # expect: read
