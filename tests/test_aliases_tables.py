"""Tables' memory that reaches torch through arrays: pandas and Arrow, where they are installed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.report.model import Report


def _written(make: Any, write: Any) -> tuple[Report, Any, Any]:
    """Make a tensor and a table, write through one; the report, the table before and after."""
    with warnings.catch_warnings(), guard(writes="check", report=False) as g:
        warnings.simplefilter("ignore")  # a read-only array becomes writable
        tensor, table, look = make()
        before = look()
        write(tensor, table)
        g.check()
        report, after = g.report, look()
    return report, before, after


def _add(tensor: torch.Tensor, table: Any) -> None:
    tensor.add_(1)


def _assert_told(report: Report, before: Any, after: Any, writer: str = "torch") -> None:
    assert before != after
    (alias,), (mutation,) = report.aliases, report.mutations
    assert mutation.details["writer"] == writer
    assert alias.id in {other.id for other in mutation.related}


# -- pandas --------------------------------------------------------------------------------------------------------------


def _frame() -> tuple[Any, Any]:
    pandas = pytest.importorskip("pandas")
    return pandas, pandas.DataFrame({"a": np.arange(300, dtype=np.float32), "b": np.ones(300, dtype=np.float32)})


COLUMNS = {
    "to_numpy": lambda frame: torch.from_numpy(frame["a"].to_numpy()),
    "values": lambda frame: torch.as_tensor(frame.a.values),
    "Tensor": lambda frame: torch.Tensor(frame.a.values),
}


@pytest.mark.parametrize("column", ["to_numpy", "values", "Tensor"])
def test_a_frame_changes_behind_its_copy_on_write(column: str) -> None:
    def make() -> Any:
        _, frame = _frame()
        return COLUMNS[column](frame), frame, lambda: frame.a.iloc[7]

    _assert_told(*_written(make, _add))


def test_a_frame_of_one_dtype_shares_whole_and_both_writers_are_told_apart() -> None:
    def make() -> Any:
        pandas, _ = _frame()
        frame = pandas.DataFrame(np.ones((50, 4), dtype=np.float32))
        tensor = torch.from_numpy(frame.to_numpy())
        return tensor, frame, lambda: (float(tensor[3, 1]), frame.iloc[3, 1])

    def write_frame(tensor: torch.Tensor, frame: Any) -> None:
        frame.iloc[3, 1] = 9.0

    _assert_told(*_written(make, _add))
    _assert_told(*_written(make, write_frame), writer="numpy")


def test_a_series_that_was_told_not_to_copy_follows_the_tensor() -> None:
    def make() -> Any:
        pandas, _ = _frame()
        tensor = torch.zeros(100)
        series = pandas.Series(tensor.numpy(), copy=False)
        return tensor, series, lambda: series.iloc[3]

    _assert_told(*_written(make, _add))


def test_a_copy_of_a_column_is_quiet() -> None:
    _, frame = _frame()
    report, before, after = _written(lambda: (torch.tensor(frame.a.values), frame, lambda: frame.a.iloc[7]), _add)
    assert before == after
    assert not report.mutations


# -- Arrow ---------------------------------------------------------------------------------------------------------------


def _arrow(name: str) -> Any:
    arrow = pytest.importorskip("pyarrow")
    numbers = np.arange(100, dtype=np.float32)
    if name == "array":
        made = arrow.array(numbers)
        return torch.from_numpy(made.to_numpy()), made, lambda: made.to_pylist()[3]
    if name == "array of a list":
        made = arrow.array(numbers.tolist(), type=arrow.float32())
        return torch.from_numpy(made.to_numpy(zero_copy_only=True)), made, lambda: made.to_pylist()[3]
    if name == "column of a table":
        made = arrow.table({"x": numbers})
        return torch.from_numpy(made["x"].to_numpy()), made, lambda: made["x"].to_pylist()[3]
    if name == "table to pandas":
        frame = arrow.table({"x": numbers}).to_pandas()
        return torch.from_numpy(frame["x"].to_numpy()), frame, lambda: frame["x"].iloc[3]
    if name == "asarray":
        made = arrow.chunked_array([numbers])
        return torch.as_tensor(np.asarray(made)), made, lambda: made.to_pylist()[3]
    if name == "DLPack":
        made = arrow.array(numbers)
        return torch.from_dlpack(made), made, lambda: made.to_pylist()[3]
    if name == "buffer":
        made = arrow.py_buffer(bytearray(400))
        return torch.frombuffer(made, dtype=torch.float32), made, lambda: bytes(made)[:8]
    tensor = torch.zeros(100)
    made = arrow.array(tensor.numpy())
    return tensor, made, lambda: made.to_pylist()[3]


@pytest.mark.parametrize(
    "name",
    ["array", "array of a list", "column of a table", "table to pandas", "asarray", "DLPack", "buffer", "array of a tensor"],
)
def test_immutable_arrow_memory_that_torch_writes_is_told(name: str) -> None:
    _assert_told(*_written(lambda: _arrow(name), _add))


def test_an_arrow_array_with_gaps_is_copied() -> None:
    arrow = pytest.importorskip("pyarrow")
    made = arrow.array([1.0, None, 3.0])
    report, before, after = _written(
        lambda: (torch.from_numpy(made.to_numpy(zero_copy_only=False)), made, lambda: made.to_pylist()[0]), _add
    )
    assert before == after
    assert not report.mutations


# -- bytes ---------------------------------------------------------------------------------------------------------------


def _bytes(*, kept: bool) -> Any:
    data = bytes(bytearray(400))
    tensor = torch.from_numpy(np.frombuffer(data, np.float32))
    return tensor, data if kept else None, lambda: float(tensor[0])


def test_bytes_that_somebody_keeps_are_told_and_those_of_the_tensor_alone_are_not() -> None:
    _assert_told(*_written(lambda: _bytes(kept=True), _add))
    report, _, _ = _written(lambda: _bytes(kept=False), _add)
    assert not report.mutations
