"""One helper moves whatever it is given wherever it is told: one line copies in both directions."""
# run: --simulate cuda

import torch


def move(tensor, device):
    return tensor.to(device)  # expect: transfer direction=h2d


host, total = torch.ones(4), 0.0
for _ in range(5):
    there = move(host, "cuda")
    total += move(there, "cpu").sum().item()  # expect: read
move(host, "cuda")
print(total)
