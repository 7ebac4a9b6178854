"""How the value of an option is read: one small parser a type, the same for text and for Python values.

Each takes the value and the label under which the user wrote it; `ConfigError` names both and the good values.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal, get_args

from . import ranks
from .levels import ConfigError, Setting, hint, setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from .words import Kind

Writes = Literal["off", "check", "auto", "exact"]

YES: Final = frozenset({"1", "true", "yes", "on"})
NO: Final = frozenset({"0", "false", "no", "off"})


def setting_of(kind: Kind) -> Callable[[object, str], Setting]:
    """A parser for the level or limit of ``kind``."""
    return lambda value, label: setting(value, label, kind)


def switch(value: object, label: str) -> bool:
    """A yes or a no."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in YES | NO:
        return word in YES
    known = ("yes", "no", "on", "off", "true", "false", "1", "0")
    raise ConfigError(f"{label}={value!r} is neither yes nor no; good values: {', '.join(known)}")


def writes(value: object, label: str) -> str:
    """A way to find later writes."""
    word = value.strip().lower() if isinstance(value, str) else value
    known: tuple[str, ...] = get_args(Writes)
    if isinstance(word, str) and word in known:
        return word
    good = ", ".join(known)
    raise ConfigError(f"{label}={value!r} is no way to watch writes; good values: {good}{hint(value, known)}")


def count(value: object, label: str) -> int:
    """A number of steps, 0 or more."""
    text = str(value).strip()
    if isinstance(value, int | str) and not isinstance(value, bool) and text.isdecimal():
        return int(text)
    raise ConfigError(f"{label}={value!r} is no number of steps; good values: 0, 1, 2, ...")


def path(value: object, label: str) -> str | None:
    """The path of a file; None where none was asked for."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str) and text.strip():
        return text
    raise ConfigError(f"{label}={value!r} is no path; good values: the path of a file")


def report(value: object, label: str) -> object:
    """Where the text report goes: None (stderr), False (nowhere), a path or a stream."""
    if value is None or value is True:
        return None
    if value is False or (isinstance(value, str) and value.strip().lower() in NO):
        return False
    if hasattr(value, "write"):
        return value
    try:
        return path(value, label)
    except ConfigError:
        good = "off (False), a path, a stream with write()"
        raise ConfigError(f"{label}={value!r} is no place for a report; good values: {good}") from None


def function(value: object, label: str) -> object:
    """A function of one argument, or None."""
    if value is None or callable(value):
        return value
    good = "a function that takes a finding and says yes or no"
    raise ConfigError(f"{label}={value!r} is no function; good values: {good}")


SIMULATED: Final = ("cuda",)


def device(value: object, label: str) -> str | None:
    """The kind of a device that can be simulated."""
    if value is None:
        return None
    if isinstance(value, str) and value.strip().lower() in SIMULATED:
        return value.strip().lower()
    raise ConfigError(f"{label}={value!r} is no kind of device; good values: cuda")


def file_for(template: str) -> str:
    """``template`` with ``%p`` as this process's id and ``%r`` as its rank (0 where there are no ranks).

    Where it has neither, ranks above 0 get a file beside it: ``report.rank1.json``.
    """
    rank = ranks.rank() or 0
    if rank and "%p" not in template and "%r" not in template:
        stem, ending = os.path.splitext(template)
        return f"{stem}.rank{rank}{ending}"
    return template.replace("%p", str(os.getpid())).replace("%r", str(rank))


def unwritable(file: str) -> str:
    """Why ``file`` cannot be written, or nothing. Creates nothing."""
    if os.path.isdir(file):
        return f"it is a directory; name a file in it, such as {os.path.join(file, 'report-%p.json')}"
    if os.path.exists(file):
        return "" if os.access(file, os.W_OK) else "the file is not writable"
    home = os.path.dirname(os.path.abspath(file))
    if not os.path.isdir(home):
        return f"there is no directory {home}"
    return "" if os.access(home, os.W_OK | os.X_OK) else f"the directory {home} is not writable"
