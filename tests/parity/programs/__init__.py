"""Plain training programs. None of them knows of the guard; each fills a `Record` with all that must not differ.

A program is a function ``name(record)`` of a module listed in `GROUPS`; its docstring says what it exercises. The
programs of one group run in one process, one after the other, each inside a guard of its own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "training": ("training", "networks", "recomputing"),
    "sharing": ("sharing", "silent", "keeping", "complaints"),
    "language": ("language", "transforms"),
    "loading": ("loading", "threads"),
    "compiling": ("compiling",),
    "inductor": ("inductor",),
}


def programs_of(group: str) -> dict[str, Callable[[Any], None]]:
    """The programs of a group by name, in the order in which they run."""
    found: dict[str, Callable[[Any], None]] = {}
    for name in GROUPS[group]:
        module = importlib.import_module(f"{__name__}.{name}")
        for public in module.PROGRAMS:
            found[public.__name__] = public
    return found
