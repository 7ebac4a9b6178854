"""Two data classes that hold tensors are compared: the host waits where they are, not in the method that was generated."""
# run: --simulate cuda
from dataclasses import dataclass

import torch


@dataclass
class Point:
    at: torch.Tensor


def same(one, other):
    return one == other  # expect: sync


start = torch.ones((), device="cuda")
for _ in range(30):
    same(Point(start), Point(start + 0))
