"""How the guard grows: events, call sites, threads, findings.

python benchmarks/scale.py [--json FILE] [--quick]
"""

from __future__ import annotations

import threading
import time
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from measuring import Figure, Tables, figure, processor, quiet, resident

from tensorwatch_guard.report.formats import render
from tensorwatch_guard.report.terminal import Style
from tensorwatch_guard.rules import rule_for

if TYPE_CHECKING:
    from tensorwatch_guard.report.model import Report

EVENTS, SITES, THREADS = 10_000_000, 100_000, 64
scalar = torch.ones(())


def events(tables: Tables) -> None:
    """Ten million reads on one line."""

    def loop(count: int) -> None:
        item = scalar
        for _ in range(count):
            item.item()

    total = tables.fewer(EVENTS)
    with quiet() as watched:
        loop(1000)
        before = resident()
        seconds = processor(lambda: loop(total))
        growth = resident() - before
    counted = watched.report.reads[0].count
    assert counted == total + 1000
    tables.row(f"{total:,} reads on one line (aim: 5 MiB)", {
        "resident growth": Figure(growth, "MiB", grain=1.0), "time": Figure(seconds, "s", 1),
        "findings": str(len(watched.report.findings)),
    })  # fmt: skip


def sites(tables: Tables) -> None:
    """Calls from ever more lines, made with exec: one thread keeps 20 000, then says that it cut."""
    for count in (1_000, 10_000, tables.fewer(SITES)):
        lines = [compile("\n".join(["t.item()"] * 100), f"<cell {number}>", "exec") for number in range(count // 100)]
        with quiet() as watched:
            tracemalloc.start()
            began = time.process_time()
            for code in lines:
                exec(code, {"t": scalar})  # noqa: S102 - that is how notebooks run
            seconds = time.process_time() - began
            kept, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            made = processor(lambda: watched.report)
        notices = " ".join(notice.rule for notice in watched.report.notices) or "-"
        tables.row(f"{count:,} call sites, one event each", {
            "a site": Figure(kept / count, "B", 0), "report": Figure(made * 1e3, "ms", 0), "notices": notices,
            "time a site, while memory is traced": Figure(seconds / count * 1e6, "us", 1),
        })  # fmt: skip


def threads(tables: Tables) -> None:
    """The same reads in one thread and in 64, bare and guarded."""

    def reads(count: int) -> None:
        for _ in range(count):
            scalar.item()

    def many() -> None:
        workers = [threading.Thread(target=reads, args=(each,)) for _ in range(THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    each = tables.fewer(4000)
    total = each * THREADS
    found: dict[str, list[float]] = {"one thread": [], f"{THREADS} threads": []}
    for _ in range(tables.fewer(3)):
        for name, run in (("one thread", lambda: reads(total)), (f"{THREADS} threads", many)):
            bare = processor(run)
            with quiet() as watched:
                found[name].append((processor(run) - bare) / total * 1e6)
            assert watched.report.reads[0].count == total
    for name, values in found.items():
        over = figure(values, "us", sign=True)
        tables.row(f"{total:,} reads in {name}", {"over bare": over, "spread": over.noise()})


def reporting(tables: Tables) -> None:
    """From the end of a run to its report, with ten thousand findings."""
    with quiet() as watched:
        for number in range(100):
            exec(compile("\n".join(["t.item()"] * 100), f"<cell {number}>", "exec"), {"t": scalar})  # noqa: S102
        began = time.process_time()
    tables.row("leaving the guard", {"time": Figure((time.process_time() - began) * 1e3, "ms", 0)})
    tables.row("g.report", {"time": Figure(processor(lambda: watched.report) * 1e3, "ms", 0)})
    waits = as_waits(watched.report)
    assert len(waits.findings) == 10_000
    for name in ("text", "json", "html", "markdown", "github"):
        took = [processor(lambda name=name: render(waits, name, Style(), verbose=True)) for _ in range(tables.fewer(5, 2))]
        shown = figure([one * 1e3 for one in took], "ms", 0)
        tables.row(f"{name}, verbose", {"time": shown, "spread": shown.noise()})


def as_waits(report: Report) -> Report:
    """The same with reads told as waits for a device: plain reads are left out by most formats."""
    rule = rule_for("sync", "Tensor.item", False, {"blocking": True}).id
    findings = tuple(
        replace(one, kind="sync", rule=rule, severity="warning", blocking=True, blocked_s=1e-3) for one in report.findings
    )
    return replace(report, findings=findings)


def main() -> None:
    """Measure and print."""
    tables = Tables("How cost and memory grow")
    tables.table("Events")
    events(tables)
    tables.table("Call sites (a thread keeps 20 000 of them)")
    sites(tables)
    tables.table("Threads")
    threads(tables)
    tables.table("A report of 10 000 findings")
    reporting(tables)
    tables.end()


if __name__ == "__main__":
    main()
