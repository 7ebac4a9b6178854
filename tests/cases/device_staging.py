"""Staging buffers in pinned memory: filled again while their copy is under way, and the one that waits its turn."""
# run: --simulate cuda
import torch

device = torch.device("cuda")
staging = torch.zeros(64).pin_memory()
result = torch.zeros((), device=device)
for step in range(3):
    staging.fill_(step)
    sent = staging.to(device, non_blocking=True)  # expect: transfer direction=h2d blocking=false
    staging.mul_(2).add_(1)  # expect: hazard type=async-copy
    result += sent.sum()
    torch.cuda.synchronize()  # expect: sync

ring = torch.zeros(2, 32 << 10).pin_memory()
for step in range(4):
    slot = ring[step % 2]
    if step > 1:
        torch.cuda.current_stream().synchronize()  # expect: sync
    slot.copy_(torch.full((32 << 10,), float(step)))
    ring[1 - step % 2].mean()
    result += slot.to(device, non_blocking=True).sum()  # expect: transfer direction=h2d blocking=false

half = torch.zeros(2, 8).pin_memory()
arrived = torch.zeros(2, 8).pin_memory()
half[0].to(device, non_blocking=True)  # expect: transfer direction=h2d blocking=false
half[1].fill_(3)
arrived[0].copy_(torch.ones(8, device=device), non_blocking=True)  # expect: transfer direction=d2h blocking=false
print(arrived[1].tolist())  # expect: read
half[0].copy_(torch.ones(8, device=device))  # expect: transfer direction=d2h
print(result.item())  # expect: sync
