"""Runs the programs of ``processes/``: each has children of its own, and tells what its guard reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "processes"
SOURCE = Path(__file__).parent.parent / "src"


def run(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of ``processes/``, run to its end by a clean interpreter of this environment."""
    return launch([sys.executable, str(FOLDER / program)], *arguments, **environment)


def launch(command: list[str], *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Any command, with this package and without coverage, which would hold the trace function on 3.11."""
    ours = ("COV", "TENSORWATCH", "_TENSORWATCH")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    paths = os.pathsep.join(filter(None, [str(SOURCE), inherited.get("PYTHONPATH")]))
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**inherited, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def answer(program: str, *arguments: object, **environment: str) -> Any:
    """What a program told as its last line of output, as JSON; it must have ended well."""
    ended = run(program, *arguments, **environment)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def line_of(program: str, mark: str) -> int:
    """The line of a program that ends with a comment."""
    lines = (FOLDER / program).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))
