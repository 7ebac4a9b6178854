"""What the ops layer costs an operation, beside an empty dispatch mode, DebugMode and the profiler with stacks.

All in one process, by turns, so that a busy machine is busy for all of them: the ratio to the empty mode of the same
turn is what counts; medians over the turns. ``python benchmarks/ops.py [turns]``
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from tensorwatch_guard import guard

CALLS = 1000


class Empty(TorchDispatchMode):
    """What anybody would write."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _debug() -> AbstractContextManager[Any]:
    from torch.utils._debug_mode import DebugMode

    return DebugMode()


def _profiler() -> AbstractContextManager[Any]:
    return profile(activities=[ProfilerActivity.CPU], with_stack=True)


CONTEXTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "bare": nullcontext,
    "empty mode": Empty,
    "guard": lambda: guard(report=False),
    "guard(ops=True)": lambda: guard(ops=True, report=False),
    "DebugMode": _debug,
    "profiler, stacks": _profiler,
}


def additions() -> Callable[[], int]:
    """One small operation, many times."""
    x, y = torch.ones(4), torch.ones(4)

    def run() -> int:
        for _ in range(CALLS):
            x + y
        return CALLS

    return run


def writes() -> Callable[[], int]:
    """An in-place operation."""
    x = torch.ones(4)

    def run() -> int:
        for _ in range(CALLS):
            x.add_(1.0)
        return CALLS

    return run


def training() -> Callable[[], int]:
    """Ten layers of 32 with Adam, forward, backward and step."""
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


def _microseconds(run: Callable[[], int], context: Callable[[], AbstractContextManager[Any]]) -> float:
    with context():
        run() if context is not _debug else None
        started = time.process_time()
        count = run()
        return (time.process_time() - started) / count * 1e6


def main() -> None:
    """Print one line a context and program."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}; medians of {turns} turns")
    print("processor time an operation")
    for make in (additions, writes, training):
        run = make()
        took: dict[str, list[float]] = {name: [] for name in CONTEXTS}
        ratios: dict[str, list[float]] = {name: [] for name in CONTEXTS}
        for _ in range(turns):
            turn = {name: _microseconds(run, context) for name, context in CONTEXTS.items()}
            for name, value in turn.items():
                took[name].append(value)
                ratios[name].append(value / turn["empty mode"])
        print(f"{make.__name__}: {(make.__doc__ or '').rstrip('.')}")
        for name in CONTEXTS:
            mean, ratio = statistics.median(took[name]), statistics.median(ratios[name])
            print(f"  {name:18s}{mean:9.2f} us{ratio:8.2f} x empty mode")


if __name__ == "__main__":
    main()
