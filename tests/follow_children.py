"""Runs the programs of ``following/`` as children without coverage, which would hold the trace function on 3.11."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "following"
SOURCE = Path(__file__).parent.parent / "src"


def child(program: str, *arguments: object, **environment: str) -> dict[str, Any]:
    """What a program of ``following/`` told as its last line, after it ended well and without a word on stderr."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    paths = os.pathsep.join(filter(None, [str(SOURCE), inherited.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, str(FOLDER / program), *map(str, arguments)],
        env={**inherited, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def marked(program: str) -> set[int]:
    """The lines of a program that are marked as writing."""
    lines = (FOLDER / program).read_text(encoding="utf-8").splitlines()
    here = {number for number, line in enumerate(lines, 1) if line.endswith("# writes")}
    return here | {number - 2 for number, line in enumerate(lines, 1) if line.endswith("# writes two above")}
