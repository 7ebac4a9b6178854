"""What a real CUDA device does beside what the guard says: a table in Markdown, for ``docs/``.

For each row: does the host wait, by ``set_sync_debug_mode``, by the accelerator's own call-backs and by the guard; how
long the guard says it was blocked, beside ``torch.cuda.Event``'s time. Then what the default guard and the ops layer
cost a bf16 transformer step. ``python benchmarks/gpu_table.py``; nothing to run without a GPU.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from tensorwatch_guard import guard

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from gpu_list import COPIES, SYNC_WARNING, Given, Row


def _debug_mode(row: Row, given: Given) -> bool:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            row.run(given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return any("synchronizing" in str(one.message) for one in told)


def _event_ms(row: Row, given: Given) -> float:
    started, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    started.record()
    row.run(given)
    ended.record()
    torch.cuda.synchronize()
    return float(started.elapsed_time(ended))


def _line(row: Row, given: Given) -> str:
    row.run(given)
    event = statistics.median(_event_ms(row, given) for _ in range(5))
    debug = _debug_mode(row, given)
    torch.cuda.synchronize()
    with guard(ops=True, report=False) as g:
        row.run(given)
    torch.cuda.synchronize()
    findings = g.report.findings
    traced = any("trace" in one.details.get("seen_by", ()) for one in findings)
    blocked = sum(one.blocked_s for one in findings) * 1e3
    told = ", ".join(f"{one.kind} {one.op}" for one in findings) or "-"
    right = "yes" if (g.report.totals["blocking"] > 0) is row.waits else "NO"
    cells = (row.name, row.waits, debug, traced, told, f"{blocked:.3f}", f"{event:.3f}", right)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _transformer() -> Any:
    layer = torch.nn.TransformerEncoderLayer(1024, 16, 4096, batch_first=True, device="cuda", dtype=torch.bfloat16)
    model = torch.nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = torch.randn(16, 512, 1024, device="cuda", dtype=torch.bfloat16)

    def step() -> None:
        optimizer.zero_grad()
        model(batch).float().square().mean().backward()
        optimizer.step()

    return step


def _step_ms(step: Any, context: AbstractContextManager[Any], steps: int = 20) -> float:
    with context:
        step()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / steps * 1e3


def main() -> int:
    """Print the table; 1 without a GPU."""
    if torch.version.cuda is None or not torch.cuda.is_available():
        print("no CUDA device: nothing was run")
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| operation | should wait | debug mode | trace | guard | blocked ms | event ms | right |")
    print("|---|---|---|---|---|---|---|---|")
    given = Given()
    for row in (*SYNC_WARNING, *COPIES):
        print(_line(row, given))
    step = _transformer()
    contexts: dict[str, Any] = {
        "bare": nullcontext,
        "guard": lambda: guard(report=False),
        "guard(ops=True)": lambda: guard(ops=True, report=False),
    }
    took: dict[str, list[float]] = {name: [] for name in contexts}
    for _ in range(7):
        for name, make in contexts.items():
            took[name].append(_step_ms(step, make()))
    print("\n| a bf16 transformer step | ms | of the bare step |\n|---|---|---|")
    for name, values in took.items():
        ratio = statistics.median(value / bare for value, bare in zip(values, took["bare"], strict=True))
        print(f"| {name} | {statistics.median(values):.3f} | {ratio:.4f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
