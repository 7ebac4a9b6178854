"""What the programs have in common: they print exactly what they computed, and time their training for the runner."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch


@contextmanager
def training() -> Iterator[None]:
    """Processor time of this block goes to the file that the runner names; nothing about it is printed."""
    began = time.process_time()
    yield
    taken = time.process_time() - began
    if "COMPAT_SECONDS" in os.environ:
        Path(os.environ["COMPAT_SECONDS"]).write_text(f"{taken:.4f}")


def told(name: str, values: Iterable[float]) -> None:
    """Print numbers in full, so that one bit of difference shows."""
    for index, value in enumerate(values):
        print(f"{name} {index}: {float(value).hex()}")


def told_state(module: torch.nn.Module) -> None:
    """Print one hash of all parameters and buffers, and the state of every random generator."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    print(f"parameters: {digest.hexdigest()}")
    print(f"torch's generator: {hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()}")
    print(f"numpy's generator: {np.random.random().hex()}")
