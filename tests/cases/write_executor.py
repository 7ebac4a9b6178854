"""Workers of a pool fill their own rows of one block that is a tensor already."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

block = np.zeros((4, 1500), dtype=np.float32)
batch = torch.from_numpy(block)  # expect: alias


def fill(index):
    block[index] = index + 1.0  # expect: mutation
    return index


with ThreadPoolExecutor(max_workers=1, thread_name_prefix="filler") as pool:
    done = list(pool.map(fill, range(4)))
print(done, batch.sum().item())  # expect: read
