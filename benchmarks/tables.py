"""What the benchmarks write: figures with their units, in rows of tables; and the JSON of it, which is read here again.

Imports nothing heavy: ``compare.py`` reads files on machines without torch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FORMAT = "tensorwatch-guard-benchmark/1"


class BenchmarkFileError(ValueError):
    """A file that is missing, broken, or none of ours. One line that names it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured. Smaller is better, where it is judged at all."""

    value: float
    unit: str = ""
    digits: int = 2
    spread: float | None = None
    """The distance between the quartiles, where there were several measurements."""
    sign: bool = False
    judged: bool = True
    """False: it is shown, and says nothing about the guard, as a bare time does not."""
    grain: float = 0.0
    """Differences up to this say nothing; at least the last digit shown."""

    def __str__(self) -> str:
        return f"{self.value:{'+' if self.sign else ''}.{self.digits}f} {self.unit}".rstrip()

    def noise(self) -> str:
        """The spread as text."""
        return "-" if self.spread is None else f"{self.spread:.{self.digits}f} {self.unit}".rstrip()


Cell = Figure | str
Rows = dict[str, dict[str, Cell]]


class Tables:
    """What one benchmark found: tables of rows, printed as they come and written at the end."""

    def __init__(self, about: str, arguments: list[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=about)
        parser.add_argument("--json", metavar="FILE", help="also write the figures there")
        parser.add_argument(
            "--quick", action="store_true", help="a twentieth of the work, to see that it runs: figures worth little"
        )
        given = parser.parse_args(arguments)
        self._file: str | None = given.json
        self._quick: bool = given.quick
        self._tables: list[dict[str, Any]] = []
        self._about, self._machine = about, machine()
        print(about)

    def fewer(self, count: int, least: int = 1) -> int:
        """The count, or what a quick run does of it."""
        return max(count // 20, least) if self._quick else count

    def table(self, title: str) -> None:
        """What follows is a table of its own."""
        self._tables.append({"title": title, "rows": []})
        print(f"\n{title}")

    def row(self, what: str, columns: dict[str, Cell]) -> None:
        """One measurement."""
        cells: dict[str, dict[str, Any]] = {name: {"text": str(cell)} for name, cell in columns.items()}
        for name, cell in columns.items():
            cells[name] |= asdict(cell) if isinstance(cell, Figure) else {}
        self._tables[-1]["rows"].append({"what": what, "cells": cells})
        print(f"  {what:<56}  " + "  ".join(f"{name} {cell}" for name, cell in columns.items()), flush=True)

    def end(self) -> None:
        """Write the JSON, where one was asked for."""
        if self._file is None:
            return
        found = {
            "format": FORMAT, "about": self._about, "quick": self._quick, "machine": self._machine, "tables": self._tables,
        }  # fmt: skip
        Path(self._file).write_text(json.dumps(found, indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds: each table's rows by their names, each row's cells by their columns."""

    about: str
    quick: bool
    machine: dict[str, Any]
    tables: dict[str, Rows]


def load(path: Path) -> Found:
    """The figures of one benchmark, from its file.

    Raises:
        BenchmarkFileError: In one line that names the file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchmarkFileError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise BenchmarkFileError(f"{path} is broken, or no JSON: {error}") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise BenchmarkFileError(f'{path} holds no figures of a benchmark (no "format": "{FORMAT}")')
    try:
        tables = {table["title"]: {row["what"]: _cells(row["cells"]) for row in table["rows"]} for table in raw["tables"]}
        return Found(str(raw["about"]), bool(raw["quick"]), dict(raw["machine"]), tables)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchmarkFileError(f"{path} is broken: {type(error).__name__}: {error}") from None


def _cells(raw: dict[str, dict[str, Any]]) -> dict[str, Cell]:
    known = [field.name for field in fields(Figure)]
    cells: dict[str, Cell] = {}
    for name, cell in raw.items():
        if "value" not in cell:
            cells[name] = str(cell["text"])
            continue
        cells[name] = made = Figure(**{key: cell[key] for key in known})
        made.noise()  # numbers where numbers belong, or an error
        str(made)
    return cells


def machine() -> dict[str, Any]:
    """Date, kind and load of this machine, and the versions of what is measured on it."""
    import numpy as np
    import torch

    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if sys.platform != "win32" else 0.0,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def _processor() -> str:
    """Its model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
