"""A device for the tests: a real one where there is one, else a simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tensorwatch_guard import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cuda() -> Iterator[str]:
    """The name of a device that behaves as a GPU."""
    if torch.cuda.is_available():
        yield "cuda"
    else:
        with simulated_accelerator("cuda"):
            yield "cuda"
