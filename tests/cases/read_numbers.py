"""Values read where Python wants a number: indices, ranges, slices, math, rounding, comparison of keys."""
import math

import torch

index = torch.tensor(2)
names = ["a", "b", "c", "d"]
chosen = names[index]  # expect: read implicit=true
first = names[:index]  # expect: read implicit=true
turns = list(range(index))  # expect: read implicit=true
root = math.sqrt(torch.tensor(16.0))  # expect: read implicit=true
whole = int(torch.tensor(3.7))  # expect: read implicit=true
phase = complex(torch.tensor(1 + 2j))  # expect: read implicit=true
counts = {index.item(): chosen}  # expect: read implicit=false
hexed = hex(index)  # expect: read implicit=true
many = torch.arange(6).reshape(2, 3).tolist()  # expect: read
total = sum(part.item() for part in torch.arange(4))  # expect: read count=4
average = math.fsum(map(float, torch.ones(5))) / 5  # expect: read count=5
print(chosen, first, turns, root, whole, phase, counts, hexed, many, total, average)
