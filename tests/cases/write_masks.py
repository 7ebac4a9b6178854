import numpy as np
import torch

scores = np.linspace(-1, 1, 1000, dtype=np.float32)
tensor = torch.as_tensor(scores)  # expect: alias
scores[scores < -0.5] = -0.5  # expect: mutation writer=numpy
print(tensor.min().item())  # expect: read
np.clip(scores, None, 0.5, out=scores)  # expect: mutation writer=numpy
print(tensor.max().item())  # expect: read
np.negative(scores, out=scores, where=scores > 0)  # expect: mutation writer=numpy
print(tensor.max().item())  # expect: read
np.random.seed(0)
np.random.shuffle(scores)  # expect: mutation writer=numpy
print(tensor.tolist()[0] == -0.5)  # expect: read
scores.sort()  # expect: mutation writer=numpy
print(tensor.tolist()[0])  # expect: read
scores.byteswap(inplace=True)  # expect: mutation writer=numpy
print(tensor.isfinite().all().item())  # expect: read
