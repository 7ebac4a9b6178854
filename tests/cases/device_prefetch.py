"""Pinned memory copied in the background, and pageable memory that only looks as if it were."""
# run: --simulate cuda
import numpy as np
import torch

batch = torch.ones(64, 8)
pinned = batch.pin_memory()
early = pinned.to("cuda", non_blocking=True)  # expect: transfer direction=h2d blocking=false
late = batch.to("cuda", non_blocking=True)  # expect: transfer direction=h2d blocking=true
plain = batch.cuda()  # expect: transfer direction=h2d blocking=true
placed = torch.empty(64, 8, device="cuda")
placed.copy_(batch)  # expect: transfer direction=h2d
constant = torch.tensor([0.485, 0.456], device="cuda")  # expect: transfer direction=h2d
table = torch.from_numpy(np.eye(4, dtype=np.float32)).to("cuda")  # expect: transfer direction=h2d
made = torch.zeros(4, 4, device="cuda") + torch.eye(4, device="cuda")
again = plain.to("cuda").float().contiguous()
torch.cuda.synchronize()  # expect: sync implicit=false
print(early.shape, late.shape, placed.shape, constant.shape, table.shape, made.shape, again is plain)
