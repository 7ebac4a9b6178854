"""CUDA for real: PyTorch's own list, copies, and no CUDA call of ours during a capture. Skipped without a GPU."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from gpu_list import COPIES, SYNC_WARNING, Given, Row
from tensorwatch_guard import guard

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.version.cuda is None or not torch.cuda.is_available(), reason="needs a CUDA device"),
]
OPS = pytest.mark.parametrize("ops", [False, True], ids=["calls", "ops"])


@pytest.fixture(scope="module")
def given() -> Given:
    return Given()


def _run(row: Row, given: Given, *, ops: bool) -> Any:
    row.run(given)  # what is only done once (handles, caches) is done
    torch.cuda.synchronize()
    with guard(ops=ops, report=False) as g:
        row.run(given)
    torch.cuda.synchronize()
    return g.report


@OPS
@pytest.mark.parametrize("row", SYNC_WARNING, ids=lambda row: row.name)
def test_pytorchs_own_list(row: Row, given: Given, ops: bool) -> None:
    report = _run(row, given, ops=ops)
    assert (report.totals["blocking"] > 0) is row.waits, report.findings


@OPS
@pytest.mark.parametrize("row", COPIES, ids=lambda row: row.name)
def test_copies(row: Row, given: Given, ops: bool) -> None:
    report = _run(row, given, ops=ops)
    (found,) = [one for one in report.findings if one.kind == "transfer"]
    assert found.details["direction"] == row.direction
    assert found.blocking is row.waits


@pytest.mark.parametrize("row", SYNC_WARNING, ids=lambda row: row.name)
def test_debug_mode_says_the_same(row: Row, given: Given) -> None:
    row.run(given)
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            row.run(given)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    assert any("synchronizing" in str(one.message) for one in told) is row.waits


@OPS
def test_a_capture_is_left_alone(given: Given, ops: bool) -> None:
    """A CUDA call that waits would end the capture with an error."""
    graph = torch.cuda.CUDAGraph()
    with guard(ops=ops, report=False) as g:
        with torch.cuda.graph(graph):
            result = given.x * 2 + 1
        graph.replay()
        torch.cuda.synchronize()
    assert torch.equal(result, given.x * 2 + 1)
    assert g.report.notices == ()
