"""A line that hands out memory thousands of times is watched by sample; all of it is counted."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.report.model import Report


def handed_out(turns: int, write: Any, **options: Any) -> Report:
    """The report on one line that shares an array in each turn; ``write`` may write to it afterwards."""
    with guard(report=False, **options) as g:
        for turn in range(turns):
            array = np.full(16, float(turn), dtype=np.float32)
            tensor = torch.from_numpy(array)
            write(turn, array, tensor)
            del tensor
    return g.report


def nothing(turn: int, array: Any, tensor: torch.Tensor) -> None:
    assert tensor[0] == turn


def test_each_is_counted_and_a_part_is_watched() -> None:
    (alias,) = handed_out(3000, nothing).aliases
    assert alias.count == 3000
    assert alias.bytes == 3000 * 64
    assert 2300 < alias.details["unwatched"] < 2744


def test_a_line_that_is_not_busy_is_watched_whole() -> None:
    (alias,) = handed_out(256, nothing).aliases
    assert "unwatched" not in alias.details


def test_whoever_asks_for_exact_has_all_watched() -> None:
    (alias,) = handed_out(400, nothing, writes="exact").aliases
    assert "unwatched" not in alias.details


def test_what_begins_late_is_still_found() -> None:
    def late(turn: int, array: Any, tensor: torch.Tensor) -> None:
        if turn > 1000:
            array += 1

    report = handed_out(3000, late, writes="check")
    (mutation,) = report.mutations
    assert 32 < mutation.count < 200
    assert mutation.first_step == 0


def test_the_sample_keeps_in_step_with_no_loop() -> None:
    """Four arrays are handed out by one line in turn; only the third is ever written, and only after a while."""
    for length in (2, 3, 4, 8, 16, 64):
        arrays = [np.zeros(16, np.float32) for _ in range(length)]
        with guard(report=False, writes="check") as g:
            for turn in range(4000):
                shared = torch.from_numpy(arrays[turn % length])
                if turn > 512 and turn % length == 1:
                    arrays[1] += 1
                del shared
        assert g.report.mutations, length


def test_the_text_says_so() -> None:
    def always(turn: int, array: Any, tensor: torch.Tensor) -> None:
        array += 1

    report = handed_out(1000, always, writes="check")
    assert re.search(r"1,000 times \([34]\d\d of\s+them watched\)", str(report))


def test_through_a_library_the_same_holds() -> None:
    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 1000

        def __getitem__(self, index: int) -> Any:
            return np.full(4, float(index), dtype=np.float32)

    with guard(report=False) as g:
        for _ in torch.utils.data.DataLoader(Rows(), batch_size=None):
            pass
    (alias,) = g.report.aliases
    assert alias.count == 1000
    assert 550 < alias.details["unwatched"] < 680
