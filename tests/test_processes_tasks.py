"""Asyncio tasks and thread pools name themselves in findings, and an allowance stays in its task."""

from __future__ import annotations

from process_runs import answer


def test_tasks_and_pools_name_themselves_and_keep_their_allowances() -> None:
    told = answer("tasks.py")
    assert told["quiet Tensor.item"] == [["MainThread (metrics)"], "metrics"]
    assert told["loud torch.as_tensor"] == [["MainThread (serve 1)", "MainThread (serve 2)"], None]
    assert told["loud Tensor.tolist"][1] is None
    assert told["pooled Tensor.item"] == [["preload_0"], None]
