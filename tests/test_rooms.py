"""The order of the house: a room imports only rooms that stand above it, and says what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tensorwatch_guard

HOUSE = Path(tensorwatch_guard.__file__).parent

FLOORS = (
    ("words", "__init__"),
    ("places", "ranks", "levels", "values", "options", "rules"),
    ("operations",),
    ("expressions",),
    ("sites",),
    ("routes",),
    ("private_api",),
    ("sharing",),
    ("current", "collector", "folding", "findings", "policy", "in_flight", "evidence", "hazards", "telling", "memory", "looks",
     "steps", "session", "containment"),
    ("probes",),
    ("report",),
    ("simulate",),
    ("processes", "running", "reporting", "printing"),
    ("guard", "decorating", "environment", "run", "doctor", "cli", "pytest_support", "pytest_plugin", "options_page"),
    ("_bootstrap", "__main__"),
)
"""From top to bottom. Rooms of one floor may know each other; what is imported late or for types only does not count."""

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> set[str]:
    """Rooms that a file imports when it is loaded."""
    found: set[str] = set()
    package = ("tensorwatch_guard", *file.relative_to(HOUSE).parts[:-1])
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        for one in node.body if isinstance(node, ast.Try) else [node]:
            if isinstance(one, ast.ImportFrom):
                base = package[: len(package) - one.level + 1] if one.level else ()
                path = (*base, *(one.module.split(".") if one.module else ()))
                if path[:1] == ("tensorwatch_guard",):
                    found |= {path[1]} if len(path) > 1 else {alias.name for alias in one.names}
            elif isinstance(one, ast.Import):
                found |= {alias.name.split(".")[1] for alias in one.names if alias.name.startswith("tensorwatch_guard.")}
    return {room for room in found if room in FLOOR_OF}


FILES = sorted(HOUSE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_a_room_imports_only_what_stands_above_it(file: Path) -> None:
    here = FLOOR_OF[room_of(file)]
    below = {room for room in imported_rooms(file) if FLOOR_OF[room] > here}
    assert not below, f"{file.relative_to(HOUSE)} imports {sorted(below)}, which stand below it"


def test_every_room_has_its_floor() -> None:
    assert {room_of(file) for file in FILES} <= set(FLOOR_OF)


def test_every_file_says_what_it_is_for() -> None:
    without = [file.name for file in FILES if file.stat().st_size and not ast.get_docstring(ast.parse(file.read_text("utf-8")))]
    assert not without
