"""Lines at which following by ``sys.settrace`` stands aside, because they would fail under any trace function.

Python 3.11 binds a method of C code once more for its profilers while a thread is traced, and so holds its object once more.
``ndarray.resize`` counts the references to its array and refuses: "cannot resize an array that references or is referenced
by another array". So a user's line that calls a method of that name is not traced.
"""

from __future__ import annotations

import dis
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "resize"
MOST: Final = 4096
_lines: Final[dict[int, tuple[CodeType, dict[int, tuple[str, ...]]]]] = {}
"""By id of a code (kept: its id is the key), for each such line the names of the globals that are asked; "" for all else."""


def stands_aside(code: CodeType, line: int, known: Mapping[str, Any]) -> bool:
    """Whether a line calls a method that counts references. ``known``: its globals, for ``cv2.resize`` is a function."""
    if NAME not in code.co_names:
        return False
    found = _lines.get(id(code))
    if found is None:
        if len(_lines) >= MOST:
            _lines.clear()
        found = _lines[id(code)] = (code, _look_up(code))
    return any(not isinstance(known.get(name), ModuleType) for name in found[1].get(line, ()))


def _look_up(code: CodeType) -> dict[int, tuple[str, ...]]:
    lines: dict[int, tuple[str, ...]] = {}
    before, line = "", 0
    for step in dis.get_instructions(code):
        line = step.starts_line if isinstance(step.starts_line, int) and step.starts_line else line
        if step.argval == NAME and step.opname in {"LOAD_METHOD", "LOAD_ATTR"}:
            lines[line] = (*lines.get(line, ()), before)
        before = step.argval if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"} else ""
    return lines
