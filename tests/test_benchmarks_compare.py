"""`python benchmarks/compare.py OLD NEW`: what counts as worse, exit codes, and what it says of files it cannot use."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def _tables() -> Any:
    spec = importlib.util.spec_from_file_location("tables", BENCHMARKS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tables = _tables()
Figure = tables.Figure


def written(path: Path, rows: dict[str, dict[str, Any]], about: str = "Calls") -> Path:
    """A file as a benchmark writes it."""
    path.parent.mkdir(exist_ok=True)
    made = tables.Tables(about, ["--json", str(path)])
    made.table("Calls of a CPU tensor")
    for what, columns in rows.items():
        made.row(what, columns)
    made.end()
    return path


def compared(old: Path, new: Path, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), str(old), str(new), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def cost(value: float, spread: float | None = None, **how: Any) -> dict[str, Any]:
    return {"over bare": Figure(value, "us", spread=spread, **how), "aim": "1.5 us"}


@pytest.mark.parametrize(
    ("old", "new", "options", "code", "verdict"),
    [
        (cost(2.0, 0.1), cost(2.3, 0.1), (), 1, "WORSE"),
        (cost(2.0, 0.2), cost(2.3, 0.2), (), 0, ""),  # within both spreads
        (cost(2.0, 0.0), cost(2.05, 0.0), (), 0, ""),  # 2.5 %, below what ever counts
        (cost(2.0, 0.0), cost(2.05, 0.0), ("--least", "1"), 1, "WORSE"),
        (cost(2.3, 0.1), cost(2.0, 0.1), (), 0, "better"),
        (cost(2.0), cost(2.15), (), 0, ""),  # no spreads: 10 %
        (cost(2.0), cost(2.3), (), 1, "WORSE"),
        (cost(2.0), cost(2.3), ("--threshold", "20"), 0, ""),
        (cost(2.0), cost(2.3), ("--no-fail",), 0, "WORSE"),
        (cost(0.0, grain=1.0), cost(0.8, grain=1.0), (), 0, ""),  # nothing to take per cent of
        (cost(0.0, grain=1.0), cost(1.8, grain=1.0), (), 1, "WORSE"),
        (cost(2.0, judged=False), cost(9.0, judged=False), (), 0, ""),
        (cost(-0.5, 0.0), cost(-0.2, 0.0), (), 1, "WORSE"),
    ],
)
def test_a_change_counts_beyond_the_noise(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], options: tuple[str, ...], code: int, verdict: str
):
    one, other = (
        written(tmp_path / f"{name}.json", {"t.item()": row}) for name, row in (("old", old), ("new", new))
    )
    returned, out, _ = compared(one, other, *options)
    (line,) = (line for line in out.splitlines() if "t.item()" in line)
    assert returned == code
    assert [word for word in ("WORSE", "better") if word in line] == ([verdict] if verdict else [])


def test_a_line_says_old_new_and_change_and_the_end_adds_up(tmp_path: Path):
    old = {"t.item()": {"bare": Figure(0.16, "us", judged=False), **cost(2.0, 0.1, sign=True)}}
    new = {"t.item()": {"bare": Figure(0.20, "us", judged=False), **cost(1.0, 0.1, sign=True)}}
    code, out, _ = compared(written(tmp_path / "old.json", old), written(tmp_path / "new.json", new))
    lines = [line.split() for line in out.splitlines()]
    assert ["t.item()", "bare", "0.16", "us", "0.20", "us", "+25.0", "%"] in lines
    assert ["t.item()", "over", "bare", "+2.00", "us", "+1.00", "us", "-50.0", "%", "better"] in lines
    assert out.endswith("worse: 0, better: 1, within the noise: 0, not judged: 1\n")
    assert code == 0


def test_folders_are_compared_file_by_file_and_what_has_no_partner_is_named(tmp_path: Path):
    both = {"t.item()": cost(2.0, 0.1)}
    for folder, row in (("old", "gone"), ("new", "added")):
        written(tmp_path / folder / "calls.json", {**both, row: cost(1.0)})
        written(tmp_path / folder / f"{folder}.json", both)
    code, out, err = compared(tmp_path / "old", tmp_path / "new")
    assert code == 0
    assert "gone: only in the old one" in out
    assert "added: only in the new one" in out
    assert "old.json is only in" in err
    assert "new.json is only in" in err


def test_a_figure_of_another_unit_is_not_compared(tmp_path: Path):
    old = written(tmp_path / "old.json", {"t.item()": cost(2.0)})
    new = written(tmp_path / "new.json", {"t.item()": {"over bare": Figure(2000.0, "ns")}})
    code, out, _ = compared(old, new)
    assert code == 0
    assert "not comparable" in out


def changed(path: Path, **machine: Any) -> Path:
    raw = json.loads(path.read_text())
    raw["machine"] |= machine
    path.write_text(json.dumps(raw))
    return path


def test_another_machine_is_compared_and_proves_nothing(tmp_path: Path):
    old = written(tmp_path / "old.json", {"t.item()": cost(2.0, 0.1)})
    new = changed(written(tmp_path / "new.json", {"t.item()": cost(2.0, 0.1)}), processors=999)
    code, out, err = compared(old, new)
    assert code == 2
    assert "t.item()" in out
    assert "unlike machines" in err
    assert "and 999" in err
    assert compared(old, new, "--no-fail")[0] == 0


def test_another_torch_and_a_busy_machine_are_told(tmp_path: Path):
    old = written(tmp_path / "old.json", {"t.item()": cost(2.0, 0.1)})
    new = changed(written(tmp_path / "new.json", {"t.item()": cost(2.0, 0.1)}), torch="9.9", load=500.0)
    code, _, err = compared(old, new)
    assert code == 0
    assert "and 9.9" in err
    assert "NEW was measured on a busy machine (load 500.0)" in err


def test_what_cannot_be_compared_is_told_in_a_line(tmp_path: Path):
    good = written(tmp_path / "good.json", {"t.item()": cost(2.0)})
    broken, foreign, damaged = tmp_path / "broken.json", tmp_path / "foreign.json", tmp_path / "damaged.json"
    broken.write_text('{"format": ')
    foreign.write_text('{"schema": "coverage/7"}')
    damaged.write_text(good.read_text().replace('"value": 2.0', '"value": "fast"'))
    (tmp_path / "empty").mkdir()
    other = written(tmp_path / "other.json", {"t.item()": cost(2.0)}, about="Loops")
    for path, words in (
        (broken, "broken.json is broken"),
        (foreign, "foreign.json holds no figures of a benchmark"),
        (damaged, "damaged.json is broken"),
        (tmp_path / "gone.json", "gone.json cannot be read"),
        (tmp_path / "empty", "is no folder"),
        (other, "about 'Loops'"),
    ):
        code, out, err = compared(good, path)
        assert code == 2
        assert out == ""
        assert words in err
        assert err.count("\n") == 1
    assert "holds no .json file" in compared(tmp_path / "empty", tmp_path / "empty")[2]
