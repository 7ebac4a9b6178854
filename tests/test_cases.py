"""Scripts as users write them: the report holds what their markers demand, at the very lines, and nothing else.

Each case of ``tests/cases`` that shares memory runs with ``--writes check``, ``auto`` and ``exact``, one that does not with
``auto``, in a fork of a process that has imported PyTorch already; a few run as a user would start them, and must print and
exit as they do without the guard.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from judging.forkserver import ForkServer
from judging.markers import Case, read_case
from judging.verdict import problems_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = sorted((Path(__file__).parent / "cases").glob("*.py"))
MODES = ("check", "auto", "exact")
AS_A_USER_DOES = ("route_memmap", "write_executor", "write_async", "stale_weights", "read_in_a_library", "quiet_loader")
EXACTLY = (("write_async", "exact"), ("stale_weights", "exact"), ("write_in_own_step", "exact"))
LIMIT_S = 120


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TENSORWATCH_GUARD")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer(_environment())
    yield made
    made.close()


def _judged(path: Path, mode: str, report: Path) -> list[str]:
    return problems_of(json.loads(report.read_text()), read_case(path), exact=mode == "exact")


def _modes(case: Case) -> tuple[str, ...]:
    if case.exact_only:
        return ("exact",)
    shares = any(marker.kind in {"alias", "mutation", "hazard"} for marker in case.markers(exact=True))
    return MODES if shares or "quiet" in case.path.stem else ("auto",)


RUNS = [pytest.param(path, mode, id=f"{path.stem}-{mode}") for path in CASES for mode in _modes(read_case(path))]


@pytest.mark.parametrize(("path", "mode"), RUNS)
def test_a_case(server: ForkServer, tmp_path: Path, path: Path, mode: str) -> None:
    case, report = read_case(path), tmp_path / "report.json"
    arguments = ["run", "--json", str(report), *case.options, "--writes", mode, str(path)]
    done = server.run(arguments, tmp_path, LIMIT_S)
    assert done["code"] == 0, done["stderr"][-2000:]
    assert report.exists(), done["stderr"][-2000:]
    found = _judged(path, mode, report)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("name", "mode"), [*((name, "auto") for name in AS_A_USER_DOES), *EXACTLY])
def test_a_case_behaves_as_it_does_without_the_guard(tmp_path: Path, name: str, mode: str) -> None:
    path, report = Path(__file__).parent / "cases" / f"{name}.py", tmp_path / "report.json"
    environment = {**_environment(), "PYTHONPATH": str(Path(__file__).parent.parent / "src")}

    def run(*command: str) -> Any:
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    bare = run(str(path))
    guarded = run("-m", "tensorwatch_guard", "run", "--json", str(report), "--writes", mode, str(path))
    assert (guarded.stdout, guarded.returncode) == (bare.stdout, bare.returncode)
    found = _judged(path, mode, report)
    assert not found, "\n".join(found)
