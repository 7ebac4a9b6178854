"""What it takes to merge the reports of 1,024 ranks, 10 MB each, by the command line: peak memory, time, what comes out.

python benchmarks/merging.py [--json FILE] [--quick]    not part of `make bench`: it writes 10 GB and takes minutes

The parts are files of the report's own writer, filled in for each rank: nine tenths of the findings are those of all
ranks, a tenth is of one of sixteen pipeline stages, five are of the rank alone, and rank 0 has fifty more. Counts and times
differ from rank to rank. They lie in the temporary folder (TMPDIR) and are removed afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measuring import SOURCES, Figure, Tables

from tensorwatch_guard.report.model import Report
from tensorwatch_guard.report.schema import to_json
from tensorwatch_guard.rules import rule_for
from tensorwatch_guard.words import Finding, Related, RunInfo, Site

RANKS, PART_BYTES, STAGES, OWN, FIRST_RANKS = 1024, 10_000_000, 16, 5, 50
COUNT, BLOCKED, DEVICE = 123_456_789, 0.123456789, "cuda:77"
KINDS = (("sync", "Tensor.item"), ("transfer", "Tensor.to"), ("read", "Tensor.tolist"), ("alias", "Tensor.numpy"))


def finding(of: str, number: int) -> Finding:
    """One as a guard gives it, with figures that are filled in later."""
    kind, op = KINDS[number % len(KINDS)]
    waits = kind in {"sync", "transfer"}
    source = f"self.metrics[{number!r}].update({'loss' if waits else 'weights'}_{of}.{op.partition('.')[2]}())"
    site = Site(f"/home/trainer/project/models/{of}/layer_{number // 40}.py", 20 + number % 40 * 7, None, 8, 8 + len(source),
                f"Layer{number // 40}.forward", source)  # fmt: skip
    details: dict[str, object] = {"device": DEVICE}
    if kind == "transfer":
        details |= {"direction": "d2h", "src": DEVICE, "dst": "cpu", "pinned": False, "non_blocking": False}
    related = (Related("shared-by", f"{number * 7919:016x}", site),) if kind == "alias" else ()
    made = hashlib.blake2b(f"{of} {number}".encode(), digest_size=8).hexdigest()
    return Finding(
        made, kind, op, rule_for(kind, op, False, {"blocking": waits, **details}).id, "warning" if waits else "note", site,
        count=COUNT, per_step=1.0, bytes=COUNT, blocked_s=BLOCKED if waits else 0.0, blocking=waits, threads=("MainThread",),
        last_step=9_999, advice="Read it every hundredth step.", related=related, details=details,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """The text of some findings as the report's writer makes it, with places for a rank's figures."""

    parts: tuple[str, ...]
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, findings: list[Finding]) -> Block:
        """From findings whose figures are placeholders."""
        text = json.dumps(to_json(Report(RunInfo(), tuple(findings))), indent=1).replace("%", "%%")
        text = text[text.index('"findings": [') + len('"findings": [') : text.rindex('\n ],\n "totals"')]
        text = text.replace(f'"count": {COUNT}', '"count": %(count)d').replace(f'"bytes": {COUNT}', '"bytes": %(bytes)d')
        text = text.replace(str(BLOCKED), "%(blocked).6f").replace(DEVICE, "%(device)s")
        return cls(tuple(text.split("\n  },")), tuple(one.kind for one in findings))

    def filled(self, rank: int, totals: dict[str, float]) -> str:
        """All of them with the figures of a rank, which are added to the totals."""
        chance, filled = random.Random(rank), []
        for part, kind in zip(self.parts, self.kinds, strict=True):
            count, blocked = 10_000 + chance.randrange(50), round(chance.random(), 6)
            filled.append(part % {"count": count, "bytes": 4 * count, "blocked": blocked, "device": f"cuda:{rank % 8}"})
            totals[kind] = totals.get(kind, 0) + count
            if kind in {"sync", "transfer"}:
                totals["blocking"] = totals.get("blocking", 0) + count
                totals["blocked_s"] = totals.get("blocked_s", 0.0) + blocked
        return "\n  },".join(filled)


class Parts:
    """Writes the report files of all ranks."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        one = len("".join(Block.of([finding("common", number) for number in range(100)]).parts)) / 100
        self.in_all, self.in_stage = int(PART_BYTES / one * 0.9), int(PART_BYTES / one * 0.1)
        self._all = Block.of([finding("common", number) for number in range(self.in_all)])
        self._stages = [Block.of([finding(f"stage{at}", number) for number in range(self.in_stage)]) for at in range(STAGES)]

    def write(self, folder: Path, rank: int) -> int:
        """The file of a rank; returns its size."""
        own = Block.of([finding(f"rank{rank}", number) for number in range(OWN + (0 if rank else FIRST_RANKS))])
        totals: dict[str, float] = {}
        blocks = (self._all, self._stages[rank * STAGES // self.ranks], own)
        text = ",".join(block.filled(rank, totals) for block in blocks)
        run = RunInfo(
            argv=("train.py",), python="3.11.7", torch="2.13.0", numpy="2.4.6", version="0.1.0", host=f"node{rank // 8}",
            pid=4000 + rank, rank=rank, world_size=self.ranks, started="2026-01-31T12:00:00+00:00", duration_s=3600.0 + rank,
            steps=10_000, layers=("calls", "trace"), writes="auto", overhead_s=12.5,
        )  # fmt: skip
        whole = json.dumps(to_json(Report(run, (), totals, ("calls inside compiled regions",))), indent=1)
        path = folder / f"report.rank{rank}.json"
        return path.write_text(whole.replace('"findings": []', f'"findings": [{text}\n ]', 1) + "\n")


def merged(folder: Path, output: Path) -> tuple[float, float, float]:
    """Wall and processor seconds and peak memory in MiB of the command, which has a process of its own."""
    command = [sys.executable, "-m", "tensorwatch_guard", "report", str(folder), "-o", str(output)]
    began = time.perf_counter()
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SOURCES)})
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, child.returncode
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Write, merge, look at the result, remove."""
    tables = Tables("What it takes to merge the reports of many ranks")
    parts = Parts(tables.fewer(RANKS))
    with tempfile.TemporaryDirectory(prefix="tensorwatch-merging-") as name:
        folder, output = Path(name, "parts"), Path(name, "merged.json")
        folder.mkdir()
        if (free := shutil.disk_usage(name).free) < parts.ranks * PART_BYTES * 1.2:
            sys.exit(f"{name} has {free / 1e9:.1f} GB left, too little for {parts.ranks} parts (set TMPDIR)")
        nbytes = sum(parts.write(folder, rank) for rank in range(parts.ranks))
        wall, busy, peak = merged(folder, output)
        report = Report.load(output)
        size = output.stat().st_size
    assert len(report.run.extra["processes"]) == parts.ranks
    on = [one.details["ranks"]["on"] for one in report.findings]
    assert on.count(parts.ranks) == parts.in_all
    each = f"{nbytes / parts.ranks / 1e6:.1f} MB"
    tables.table(f"{parts.ranks} ranks, {each} each; {len(on):,} findings, {parts.in_all:,} of all ranks")
    tables.row("peak memory of the command (aim: 1 GB)", {"figure": Figure(peak * 1.048576, "MB", 0)})
    tables.row("wall time", {"figure": Figure(wall, "s", 0, judged=False)})
    tables.row("processor time", {"figure": Figure(busy, "s", 0)})
    tables.row("the merged report", {"figure": Figure(size / 1e6, "MB", 1)})
    tables.end()


if __name__ == "__main__":
    main()
