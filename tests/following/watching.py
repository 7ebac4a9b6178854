"""For the programs in this folder: watch arrays, tell what was seen as JSON."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from tensorwatch_guard.sharing import lines
    from tensorwatch_guard.words import Write


def watch(follower: lines.LineFollower, key: int, array: np.ndarray[Any, Any]) -> bool:
    owner: Any = array
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    hold = weakref.ref(owner, lambda _: follower.unwatch(key))
    return follower.watch(key, array.ctypes.data, array.nbytes, hold)


def as_dict(write: Write) -> dict[str, Any]:
    place = write.place
    return {
        "key": write.key,
        "first": write.first,
        "last": write.last,
        "line": place.line if place else None,
        "file": os.path.basename(place.file) if place else None,
        "function": place.function if place else None,
        "columns": columns(write),
        "thread": write.thread,
        "exact": write.exact,
        "writer": write.writer,
        "by": write.by,
        "suspects": [[os.path.basename(suspect.file), suspect.line] for suspect in write.suspects],
        "sequence": write.sequence,
    }


def columns(write: Write) -> list[int] | None:
    place = write.place
    if place is None or place.code is None or place.lasti < 0 or sys.version_info < (3, 11):
        return None
    return list(list(place.code.co_positions())[place.lasti // 2][2:])


def tell(**facts: Any) -> None:
    print(json.dumps(facts))


def library(source: str) -> dict[str, Any]:
    """A module that looks installed: its lines are not the user's."""
    names: dict[str, Any] = {}
    path = os.path.join(sysconfig.get_paths()["purelib"], "pretended_library.py")
    exec(compile(source, path, "exec"), names)
    return names


def user(source: str, path: str) -> Callable[..., Any]:
    """The function ``f`` of a module of the user's at that path."""
    names: dict[str, Any] = {}
    exec(compile(source, path, "exec"), names)
    function: Callable[..., Any] = names["f"]
    return function
