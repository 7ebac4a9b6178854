"""torch.compile counts the same with a follower and without one.

Arguments: ``plain`` or ``followed``, and whether Dynamo is imported ``early``, before following begins, or ``late``.
"""

# ruff: noqa: ANN001

from __future__ import annotations

import importlib
import sys

import numpy as np
import torch
from watching import tell, watch

from tensorwatch_guard.sharing import lines


def broken(x):
    y = x * 2
    print(end="")
    y = y + 1
    if y.sum() > 0:
        y = y.relu()
    return y


def whole(x):
    return x.sin().cos()


def main():
    a = np.zeros(8)
    follower = lines.make()
    if sys.argv[2] == "early":
        importlib.import_module("torch._dynamo")
    started = sys.argv[1] == "followed" and watch(follower, 1, a)
    one, other = torch.compile(broken, backend="eager"), torch.compile(whole, backend="eager")
    results = []
    for size in (3, 4, 5):
        a[0] += 1
        results.append(one(torch.ones(size)).sum().item())
        a[1] += 1
        results.append(other(-torch.ones(size)).sum().item())
    written = len(follower.collect())
    follower.stop()
    counters = importlib.import_module("torch._dynamo.utils").counters
    counted = {name: {str(key): number for key, number in table.items()} for name, table in counters.items()}
    tell(started=started, results=results, written=written, counted=counted)


main()
