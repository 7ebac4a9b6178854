"""What the ops layer costs an operation, beside an empty dispatch mode, DebugMode and the profiler.

python benchmarks/ops.py [--json FILE] [--quick]

All in one process, by turns, so that a busy machine is busy for all of them: the ratio to the empty mode of the same
turn is what counts; medians over the turns.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from measuring import Tables, figure
from watchers import OURS, WATCHERS, debug_mode

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

CALLS, TURNS = 1000, 15
CONTEXTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "bare": nullcontext,
    **{name: context for name, context in WATCHERS.items() if name != "empty settrace"},
    "DebugMode": debug_mode,
}


def additions() -> Callable[[], int]:
    """One addition of four elements."""
    x, y = torch.ones(4), torch.ones(4)

    def run() -> int:
        for _ in range(CALLS):
            x + y
        return CALLS

    return run


def writes() -> Callable[[], int]:
    """One add_ of four elements."""
    x = torch.ones(4)

    def run() -> int:
        for _ in range(CALLS):
            x.add_(1.0)
        return CALLS

    return run


def training() -> Callable[[], int]:
    """Ten layers of 32 with Adam: forward, backward, step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[torch.nn.Linear(32, 32) for _ in range(10)])
    optimizer = torch.optim.Adam(model.parameters())
    batch = torch.randn(8, 32)
    steps, operations = 3, 310

    def run() -> int:
        for _ in range(steps):
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
        return steps * operations

    return run


def microseconds(run: Callable[[], int], context: Callable[[], AbstractContextManager[Any]]) -> float:
    """An operation within the context, which is not counted itself."""
    with context():
        run() if context is not debug_mode else None
        started = time.process_time()
        count = run()
        return (time.process_time() - started) / count * 1e6


def main() -> None:
    """A table a program, a row a context."""
    tables = Tables("Cost of the ops layer an operation, beside other watchers of operations")
    for make in (additions, writes, training):
        run = make()
        took: dict[str, list[float]] = {name: [] for name in CONTEXTS}
        for _ in range(tables.fewer(TURNS, 2)):
            for name, context in CONTEXTS.items():
                took[name].append(microseconds(run, context))
        tables.table((make.__doc__ or "").rstrip("."))
        for name, values in took.items():
            each = figure(values, "us", judged=name in OURS)
            ratio = figure([a / b for a, b in zip(values, took["empty mode"], strict=True)], "x", judged=name in OURS)
            tables.row(name, {"an operation": each, "of the empty mode": ratio, "spread": ratio.noise()})
    tables.end()


if __name__ == "__main__":
    main()
