"""What a DataLoader makes of a batch's samples and drops at once is nothing to tell; what somebody keeps is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import collate

from tensorwatch_guard import guard


class Rows(Dataset[Any]):
    def __init__(self) -> None:
        self.rows = np.arange(400, dtype=np.float32).reshape(100, 4)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def listed(batch: list[torch.Tensor], *, collate_fn_map: Any = None) -> list[torch.Tensor]:
    """A collate for samples of different sizes, as PyTorch's documentation has it."""
    return batch


def test_samples_that_are_stacked_share_with_nobody_in_the_end() -> None:
    with guard(report=False) as g:
        batches = list(DataLoader(Rows(), batch_size=10))
    assert len(batches) == 10
    assert not g.report.aliases


def test_samples_that_are_kept_as_they_are_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(collate.default_collate_fn_map, torch.Tensor, listed)
    rows = Rows()
    with guard(report=False, writes="check") as g:
        batches = list(DataLoader(rows, batch_size=10))
        rows.rows += 1
    (alias,) = g.report.aliases
    assert alias.count == sum(len(batch) for batch in batches) == 100
    assert g.report.mutations


def test_samples_that_are_kept_are_seen_by_a_table_of_ones_own_too() -> None:
    rows = Rows()
    table = {np.ndarray: collate.collate_numpy_array_fn, torch.Tensor: listed}

    def kept(batch: list[Any]) -> Any:
        return collate.collate(batch, collate_fn_map=table)

    with guard(report=False) as g:
        batches = list(DataLoader(rows, batch_size=10, collate_fn=kept))
    (alias,) = g.report.aliases
    assert alias.count == 100
    assert alias.details["live"] == sum(len(batch) for batch in batches)


@pytest.mark.parametrize("on_top", [False, True])
def test_a_function_that_somebody_put_there_is_asked(monkeypatch: pytest.MonkeyPatch, on_top: bool) -> None:
    made = []

    def patch() -> None:
        own = torch.as_tensor

        def as_tensor(value: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            made.append(value)
            return own(value, *args, **kwargs)

        monkeypatch.setattr(torch, "as_tensor", as_tensor)

    if not on_top:
        patch()
    with guard(report=False):
        if on_top:
            patch()
        for _ in DataLoader([np.ones(2, np.float32) for _ in range(20)], batch_size=10):  # type: ignore[arg-type]
            pass
        if on_top:
            monkeypatch.undo()
    assert len(made) == 20
