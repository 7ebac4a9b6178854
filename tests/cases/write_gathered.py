"""A collective writes into memory that an array shares, with no counter moved: PyTorch wrote, not NumPy."""

import numpy as np
import torch
import torch.distributed as dist

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
kept = np.zeros(8, dtype=np.float32)
gathered = torch.from_numpy(kept)  # expect: alias
gathered.sum().item()
dist.all_gather([gathered], torch.ones(8))  # expect: mutation writer=torch
print(gathered.sum().item(), kept[0])
dist.destroy_process_group()
