"""How the guard grows: events, call sites, threads, findings.

python benchmarks/scale.py [--json FILE]
"""

from __future__ import annotations

import threading
import time
import tracemalloc

import torch
from measuring import Tables, middle, processor, quiet, resident

EVENTS, SITES, THREADS = 10_000_000, 100_000, 64
scalar = torch.ones(())


def events(tables: Tables) -> None:
    """Ten million reads on one line."""

    def loop(count: int) -> None:
        item = scalar
        for _ in range(count):
            item.item()

    with quiet() as watched:
        loop(1000)
        before = resident()
        seconds = processor(lambda: loop(EVENTS))
        growth = resident() - before
    counted = watched.report.reads[0].count
    assert counted == EVENTS + 1000
    tables.row(f"{EVENTS:,} reads on one line (aim: 5 MiB)", {
        "resident growth": f"{growth:.2f} MiB", "time": f"{seconds:.1f} s", "findings": str(len(watched.report.findings)),
    })  # fmt: skip


def sites(tables: Tables) -> None:
    """Calls from ever more lines, made with exec: one thread keeps 20 000, then says that it cut."""
    for count in (1_000, 10_000, SITES):
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
            "a site": f"{kept / count:.0f} B", "time a site": f"{seconds / count * 1e6:.1f} us, while memory is traced",
            "report": f"{made * 1e3:.0f} ms", "notices": notices,
        })  # fmt: skip


def threads(tables: Tables) -> None:
    """The same reads in one thread and in 64, bare and guarded."""

    def reads(count: int) -> None:
        for _ in range(count):
            scalar.item()

    def many() -> None:
        workers = [threading.Thread(target=reads, args=(4000,)) for _ in range(THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    total = 4000 * THREADS
    found: dict[str, list[float]] = {"one thread": [], f"{THREADS} threads": []}
    for _ in range(3):
        for name, run in (("one thread", lambda: reads(total)), (f"{THREADS} threads", many)):
            bare = processor(run)
            with quiet() as watched:
                found[name].append((processor(run) - bare) / total * 1e6)
            assert watched.report.reads[0].count == total
    for name, values in found.items():
        over, spread = middle(values)
        tables.row(f"{total:,} reads in {name}", {"over bare": f"{over:+.2f} us", "spread": f"{spread:.2f} us"})


def reporting(tables: Tables) -> None:
    """From the end of a run to its report, with ten thousand findings."""
    with quiet() as watched:
        for number in range(100):
            exec(compile("\n".join(["t.item()"] * 100), f"<cell {number}>", "exec"), {"t": scalar})  # noqa: S102
        began = time.process_time()
    left = time.process_time()
    report = watched.report
    made = time.process_time()
    text = report.text()
    written = time.process_time()
    document = report.to_json()
    ended = time.process_time()
    assert len(document["findings"]) == 10_000
    tables.row("leaving the guard", {"time": f"{(left - began) * 1e3:.0f} ms"})
    tables.row("g.report", {"time": f"{(made - left) * 1e3:.0f} ms"})
    tables.row(f"text, {len(text)} characters", {"time": f"{(written - made) * 1e3:.0f} ms"})
    tables.row("JSON", {"time": f"{(ended - written) * 1e3:.0f} ms"})


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
