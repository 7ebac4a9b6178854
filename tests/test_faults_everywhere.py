"""Whatever function of ours fails, wherever: the program computes what it computes, and nothing stays in place.

Every function that the package itself calls is broken once (`faults.everywhere`): by an error on each call, and by an
interrupt, which has to arrive.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from process_runs import SOURCE, launch

PARTS = 2


@pytest.mark.parametrize(("error", "guards"), [("bug", 4), ("interrupt", 1)])
def test_each_function_fails_in_turn(error: str, guards: int, tmp_path: Path) -> None:
    paths = os.pathsep.join(map(str, (SOURCE, Path(__file__).parent)))

    def run(part: int) -> Any:
        command = [sys.executable, "-W", "ignore", "-m", "faults.everywhere"]
        return launch(command, error, guards, part, PARTS, PYTHONPATH=paths)

    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(run, range(PARTS)))
    for ended in runs:
        assert ended.returncode == 0, ended.stderr[-3000:]
    found = [json.loads(ended.stdout.splitlines()[-1]) for ended in runs]
    assert sum(one["broken"] for one in found) > 250
    problems = {where: what for one in found for where, what in one["problems"].items()}
    assert not problems, "\n".join(f"{where}: {what}" for where, what in problems.items())
