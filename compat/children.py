"""Runs one program or one test suite in a process of its own, bare or under the guard, and keeps what came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUIET = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100",
}  # fmt: skip
"""One thread, one hash seed, no network: two bare runs are equal, or the comparison means nothing."""
CHANGES = (
    (re.compile(re.escape(tempfile.gettempdir()) + r"/[\w./-]+"), "TEMPORARY"),
    (re.compile(r"\r"), "\n"),
    (re.compile(r"^.*\d+%\|.*$", re.MULTILINE), ""),  # progress bars hold times
)
"""What differs between two runs of the same program anyway."""


@dataclass
class Outcome:
    """How one process ended, what it printed and what it cost."""

    code: int
    out: str
    err: str
    seconds: float
    """Processor time of the process and its children, start and imports included."""
    training: float | None = None
    """Processor time of what the program timed itself."""
    report: str = ""
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> tuple[int, str, str]:
        """What has to be equal: exit code, output, warnings."""
        return self.code, self.out, self.err


def run(command: list[str], folder: Path, *, guarded: bool, cwd: Path | None = None) -> Outcome:
    """Run it; files about it go into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / name for name in ("seconds", "report.txt", "report.json")}
    for file in files.values():
        file.unlink(missing_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TENSORWATCH_GUARD")}
    environ |= QUIET | {"COMPAT_SECONDS": str(files["seconds"])}
    if guarded:
        environ |= {
            "TENSORWATCH_GUARD": "1",
            "TENSORWATCH_GUARD_REPORT": str(files["report.txt"]),
            "TENSORWATCH_GUARD_JSON": str(files["report.json"]),
        }
    before = os.times()
    command = [sys.executable, *command]
    done = subprocess.run(command, cwd=cwd or folder, env=environ, capture_output=True, text=True, check=False)
    after = os.times()
    return Outcome(
        done.returncode,
        plain(done.stdout),
        plain(done.stderr),
        after.children_user + after.children_system - before.children_user - before.children_system,
        float(text(files["seconds"])) if files["seconds"].exists() else None,
        text(files["report.txt"]),
        json.loads(text(files["report.json"]) or "{}"),
    )


def text(file: Path) -> str:
    """Nothing, where there is no file."""
    return file.read_text() if file.exists() else ""


def plain(printed: str) -> str:
    """Without what differs from run to run."""
    for pattern, instead in CHANGES:
        printed = pattern.sub(instead, printed)
    return "\n".join(line for line in printed.splitlines() if line.strip())
