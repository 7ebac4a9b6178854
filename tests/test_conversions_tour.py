"""The tour of the conversion rules causes the findings that `docs/conversions.md` says it causes, each at its line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
TOUR = ROOT / "examples" / "conversions_tour.py"
PAGE = ROOT / "docs" / "conversions.md"
LIMIT_S = 120


@dataclass(frozen=True)
class Told:
    """A finding that a rule's line must cause: its kind and some of its fields or details."""

    kind: str
    fields: tuple[tuple[str, Any], ...] = ()


def _told(kind: str, **fields: Any) -> Told:
    return Told(kind, tuple(fields.items()))


RULES: dict[int, Sequence[Told]] = {
    1: [_told("alias", direction="tensor->array")],
    2: [],
    3: [_told("alias", direction="tensor->array")],
    4: [_told("alias", direction="tensor->array")],
    5: [],
    6: [_told("refusal", exception="TypeError")],
    7: [_told("refusal", exception="RuntimeError")],
    8: [_told("alias", direction="tensor->array")],
    9: [_told("alias", direction="tensor->array")],
    10: [_told("alias", direction="array->tensor", dtype="float64")],
    11: [],
    12: [_told("alias", direction="array->tensor")],
    13: [],
    14: [_told("alias", direction="array->tensor", dtype="float32")],
    15: [],
    16: [_told("refusal", exception="ValueError")],
    17: [_told("read", op="Tensor.item", implicit=False)],
    18: [_told("read", op="Tensor.item")],
    19: [_told("read", implicit=True)],
    20: [_told("refusal", exception="RuntimeError")],
    21: [_told("read")],
    22: [_told("read", op="Tensor.item")],
    23: [_told("read", op="Tensor.tolist", count=1)],
}
ON_A_DEVICE: dict[int, Sequence[Told]] = {
    24: [_told("transfer", direction="h2d")],
    25: [_told("refusal", exception="TypeError")],
    26: [_told("transfer", direction="d2h", blocking=True)],
    27: [_told("sync", op="Tensor.item", implicit=False)],
    28: [_told("transfer", direction="d2h"), _told("read")],
    29: [_told("sync", implicit=True)],
    30: [_told("sync", op="Tensor.tolist", count=1)],
}
WRITES = (1, 3, 8, 10, 14)


def _lines(word: str) -> dict[int, int]:
    """The number in each ``# word N`` of the tour -> its line."""
    found = {}
    for line, text in enumerate(TOUR.read_text().splitlines(), 1):
        if match := re.search(rf"# {word} (\d+)$", text):
            found[int(match[1])] = line
    return found


def _report(folder: Path, *options: str) -> dict[str, Any]:
    path = folder / "report.json"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TENSORWATCH_GUARD")}
    environment["PYTHONPATH"] = str(ROOT / "src")
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "tensorwatch_guard", "run", "--json", str(path), *options, str(TOUR)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def _at(report: dict[str, Any], line: int, *kinds: str) -> list[dict[str, Any]]:
    return [
        finding
        for finding in report["findings"]
        if finding["site"]
        and Path(finding["site"]["file"]).name == TOUR.name
        and finding["site"]["line"] <= line <= (finding["site"]["end_line"] or finding["site"]["line"])
        and (not kinds or finding["kind"] in kinds)
    ]


def _fits(finding: dict[str, Any], told: Told) -> bool:
    return finding["kind"] == told.kind and all(
        finding.get(key, finding["details"].get(key)) == value for key, value in told.fields
    )


def _holds(report: dict[str, Any], line: int, wanted: Sequence[Told]) -> None:
    found = _at(report, line)
    for told in wanted:
        assert any(_fits(finding, told) for finding in found), (told, found)
    kinds = {told.kind for told in wanted}
    for finding in found:
        closed = finding["kind"] == "alias" and finding["details"]["live"] == 0
        assert finding["kind"] in kinds or closed, finding


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _report(tmp_path_factory.mktemp("host"), "--writes", "exact")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _report(tmp_path_factory.mktemp("device"), "--simulate", "cuda")


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_causes_its_findings(host: dict[str, Any], rule: int) -> None:
    _holds(host, _lines("rule")[rule], RULES[rule])


@pytest.mark.parametrize("rule", ON_A_DEVICE)
def test_a_rule_of_the_device_causes_its_findings(device: dict[str, Any], rule: int) -> None:
    _holds(device, _lines("rule")[rule], ON_A_DEVICE[rule])


@pytest.mark.parametrize("rule", WRITES)
def test_a_write_into_shared_memory_is_found_at_its_line(host: dict[str, Any], rule: int) -> None:
    mutations = _at(host, _lines("write")[rule], "mutation")
    assert [finding["details"]["writer"] for finding in mutations] == ["numpy"]
    assert mutations[0]["details"]["exact"] is True


def test_nothing_else_is_found(host: dict[str, Any]) -> None:
    lines = {*_lines("rule").values(), *_lines("write").values()}
    for finding in host["findings"]:
        kept_quiet = finding["kind"] == "read" or (finding["kind"] == "alias" and finding["details"]["live"] == 0)
        assert kept_quiet or finding["site"]["line"] in lines, finding


def test_the_page_has_every_rule_of_the_tour_and_no_other() -> None:
    page = [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)]
    assert page == sorted(_lines("rule")) == sorted({**RULES, **ON_A_DEVICE})


def test_the_tour_runs_without_the_guard(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(TOUR)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 23  " in done.stdout
