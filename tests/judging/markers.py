"""Reads what a case demands: ``# expect:``, ``# expect[exact]:``, ``# expect[inexact]:`` and ``# maybe:`` comments.

A marker names a kind of finding and, as ``key=value``, fields or details that it must have; several stand on one line,
separated by semicolons.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tensorwatch_guard.words import KINDS

if TYPE_CHECKING:
    from pathlib import Path

_MARKER = re.compile(r"#\s*(?P<word>expect|maybe)(?:\[(?P<only>exact|inexact)\])?:\s*(?P<wanted>.+)$")
_OPTIONS = re.compile(r"^# run: (.+)$", re.MULTILINE)
_EXACT_ONLY = re.compile(r"^# exact-only", re.MULTILINE)


@dataclass(eq=False)
class Marker:
    """One demand on one line; ``explained_by`` counts the findings that answered it."""

    line: int
    kind: str
    wanted: dict[str, str]
    demanded: bool
    explained_by: int = 0

    def asks_for(self, finding: dict[str, Any]) -> bool:
        """Whether ``finding`` is of this kind and has the values asked for, compared as lower-case text."""
        details = finding.get("details") or {}
        return finding["kind"] == self.kind and all(
            str(finding.get(key, details.get(key))).lower() == value.lower() for key, value in self.wanted.items()
        )

    def __str__(self) -> str:
        values = "".join(f" {key}={value}" for key, value in self.wanted.items())
        return f"line {self.line}: {self.kind}{values}"


@dataclass(frozen=True)
class Case:
    """A script with its markers, the options it wants and the function that each of its lines belongs to."""

    path: Path
    lines: int
    options: tuple[str, ...]
    exact_only: bool
    owners: dict[int, int] = field(repr=False)

    def markers(self, exact: bool) -> list[Marker]:
        """The demands that hold with, or without, exact writes."""
        found = []
        for number, text in enumerate(self.path.read_text().splitlines(), 1):
            match = _MARKER.search(text)
            if match is None or match["only"] == ("inexact" if exact else "exact"):
                continue
            for part in filter(None, map(str.strip, match["wanted"].split(";"))):
                kind, *pairs = part.split()
                if kind not in KINDS or any("=" not in pair for pair in pairs):
                    raise ValueError(f"{self.path.name}:{number}: what is {part!r}?")
                wanted = dict(pair.split("=", 1) for pair in pairs)
                found.append(Marker(number, kind, wanted, match["word"] == "expect"))
        return found


def read_case(path: Path) -> Case:
    """The case that stands in ``path``.

    Raises:
        ValueError: if a marker cannot be understood.
    """
    text = path.read_text()
    owners: dict[int, int] = {}
    for node in ast.walk(ast.parse(text)):  # outer functions come before those inside them
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            owners |= dict.fromkeys(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1), node.lineno)
    options = tuple(option for line in _OPTIONS.findall(text) for option in line.split())
    return Case(path, len(text.splitlines()), options, bool(_EXACT_ONLY.search(text)), owners)
