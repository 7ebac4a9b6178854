"""Both kinds of wheel bring the activation line, where Python looks for it; and it is only one careful line."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINE = "tensorwatch_guard.pth"


def wheel(kind: str, directory: Path) -> zipfile.ZipFile:
    code = f"from hatchling.build import build_{kind} as build\nprint(build({str(directory)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(directory / done.stdout.split()[-1])


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_the_line_is_at_the_top_of_the_wheel(kind: str, tmp_path: Path):
    with wheel(kind, tmp_path) as made:
        names = made.namelist()
        assert made.read(LINE).decode() == (ROOT / "src" / LINE).read_text()
        entry_points = made.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert "tensorwatch-guard = tensorwatch_guard.cli:main" in entry_points
    if kind == "wheel":
        assert {"tensorwatch_guard/py.typed", "tensorwatch_guard/__init__.py"} <= set(names)
    else:
        assert min(names) < LINE  # the line that makes the package importable is read before ours
        assert any(name.startswith("_") and name.endswith(".pth") for name in names)


def start(site: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that reads the ``.pth`` files of ``site`` and nothing else of ours."""
    code = f"import site, sys\nsite.addsitedir({str(site)!r})\nprint('started', 'tensorwatch_guard' in sys.modules)"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_line_outlives_the_package_in_silence(tmp_path: Path):
    (tmp_path / LINE).write_text((ROOT / "src" / LINE).read_text())
    left_over = start(tmp_path, TENSORWATCH_GUARD="1")
    assert (left_over.stdout, left_over.stderr) == ("started False\n", "")


@pytest.mark.parametrize("value", ["", "1"], ids=["unset", "set"])
def test_the_line_loads_the_package_only_when_asked(tmp_path: Path, value: str):
    (tmp_path / LINE).write_text((ROOT / "src" / LINE).read_text())
    (tmp_path / "_first.pth").write_text(str(ROOT / "src") + "\n")
    assert start(tmp_path, TENSORWATCH_GUARD=value).stdout == f"started {bool(value)}\n"


def test_the_line_is_one_line():
    text = (ROOT / "src" / LINE).read_text()
    assert text.count("\n") == 1
    assert text.startswith("import ")
