"""Functions in Python are pickled under a guard, for those, too, who will not know of it; no descriptor is left open."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard

FUNCTIONS = {
    "torch.load": lambda: torch.load,
    "torch.autograd.backward": lambda: torch.autograd.backward,
    "torch.as_tensor": lambda: torch.as_tensor,
    "Tensor.share_memory_": lambda: torch.Tensor.share_memory_,
    "Tensor.item": lambda: torch.Tensor.item,
    "Module.to": lambda: torch.nn.Module.to,
    "Module.state_dict": lambda: torch.nn.Module.state_dict,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_is_pickled_as_the_one_that_it_stands_for(name: str) -> None:
    with guard(report=False):
        inside = FUNCTIONS[name]()
        written = pickle.dumps(inside)
        assert pickle.loads(written) == inside
    assert b"tensorwatch" not in written
    assert pickle.loads(written) is FUNCTIONS[name]()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted where Linux lists them")
def test_no_descriptor_is_left_open() -> None:
    def train() -> Any:
        values = np.zeros(1 << 18, dtype=np.float32)
        layer = torch.nn.Linear(2, 2)
        optimizer = torch.optim.Adam(layer.parameters())
        with guard(report=False, writes="check"):
            shared = torch.from_numpy(values)
            values[0] = 1
            layer(torch.ones(1, 2)).sum().backward()
            optimizer.step()
        return shared

    train()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        train()
    assert len(os.listdir("/proc/self/fd")) == before
