"""A dataset that hands out its own memory and then writes to it, in DataLoader workers.

Usage: loader.py METHOD WRITES [persistent] [unfollowed]
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tensorwatch_guard import guard


class Images(Dataset[Any]):
    def __init__(self) -> None:
        self.store = np.zeros((16, 64), dtype=np.float32)

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        image = torch.from_numpy(self.store[index])  # shared
        self.store[index] += 1.0  # written
        return image, float(image.sum())  # read


if __name__ == "__main__":
    method, writes, *words = sys.argv[1:]
    environment = dict(os.environ)
    images = Images()
    with guard(writes=writes, report=False, follow_children="unfollowed" not in words) as g:
        loader = DataLoader(
            images, 4, num_workers=2, multiprocessing_context=method, persistent_workers="persistent" in words
        )
        batches = [float(batch.sum()) for _ in range(2) for batch, _ in loader]
        del loader
    assert dict(os.environ) == environment
    print(json.dumps({"report": g.report.to_json(), "batches": batches, "text": str(g.report)}))
