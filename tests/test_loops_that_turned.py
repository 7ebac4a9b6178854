"""Whether a loop turned between two looks is read from the code: what leaves a ``with`` block is no jump back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable


def in_a_block() -> None:
    array = np.ones(5)
    with contextlib.nullcontext():
        tensor = torch.from_numpy(array)
    array += 1
    tensor.sum().item()


def in_two_blocks() -> None:
    array = np.ones(5)
    with contextlib.nullcontext(), torch.no_grad():
        tensor = torch.from_numpy(array)
        with contextlib.suppress(ValueError):
            tensor.sum().item()
    array += 1
    tensor.sum().item()


def in_a_loop() -> None:
    array = np.ones(5)
    tensor = torch.from_numpy(array)
    for turn in range(4):
        array += turn
        with contextlib.nullcontext():
            if turn % 3 == 0:
                tensor.sum().item()


@pytest.mark.parametrize(("program", "turned"), [(in_a_block, False), (in_two_blocks, False), (in_a_loop, True)])
def test_turns_are_told_where_a_loop_turned(program: Callable[[], None], turned: bool) -> None:
    with guard(report=False, writes="check") as g:
        program()
    assert g.report.mutations
    ends = [found.details["between"] for found in g.report.mutations]
    assert any(first["line"] == last["line"] for first, last in ends) is turned
