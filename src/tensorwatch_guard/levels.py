"""The grammar of levels: what may be written for a kind or a direction, and what it means.

One grammar wherever a value comes from (keyword, environment, pyproject, command line, marker): a level word,
a level word narrowed to implicit happenings, or a limit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from .words import LEVELS, Kind, Level

if TYPE_CHECKING:
    from collections.abc import Iterable

Per = Literal["run", "step", "site"]
PERS: Final[tuple[Per, ...]] = get_args(Per)

NARROWABLE: Final[frozenset[Kind]] = frozenset({"read", "sync", "transfer", "alias"})
"""Kinds that users can also write out explicitly; a mutation, a hazard or a refusal never is."""

FOLLOWS_LEVEL: Final[frozenset[Kind]] = frozenset({"sync", "transfer", "mutation", "hazard"})
"""Kinds that a bare level word sets; the others stay "log" unless they are named."""

WORDS: Final[tuple[str, ...]] = (*LEVELS, "warn:implicit", "error:implicit")
GOOD_WORDS: Final = ", ".join(WORDS)
GOOD_LIMITS: Final = 'a whole number (at most so many), or limit(n, per="run"|"step"|"site") (as text: "n/step")'
GOOD_SETTINGS: Final = f"{GOOD_WORDS}, {GOOD_LIMITS}"

_COUNT: Final = re.compile(r"(-?\d+)\s*(?:/\s*(\w+))?")


class ConfigError(ValueError):
    """A value that cannot be meant. The message names the option and lists the good values."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``n`` happenings per run, per step or per site (``per``)."""

    n: int
    per: Per = "run"

    def __post_init__(self) -> None:
        if type(self.n) is not int or self.n < 0:
            raise ConfigError(f"limit({self.n!r}): a limit is a whole number, 0 or more")
        if self.per not in PERS:
            known = ", ".join(PERS)
            raise ConfigError(
                f"limit({self.n}, per={self.per!r}): per is one of {known}{hint(self.per, PERS)}"
            )

    def __str__(self) -> str:
        return f"{self.n}/{self.per}"


def limit(n: int, per: Per = "run") -> Limit:
    """At most ``n`` happenings ``per`` "run", "step" or "site": ``guard(sync=limit(1, per="step"))``.

    Raises:
        ConfigError: if ``n`` is no whole number from 0 up, or ``per`` is none of the three words.
    """
    return Limit(n, per)


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for one kind: its level, whether for implicit happenings only, and the limit if one was given.

    A limit comes with level "error": that is what happens once it is passed.
    """

    level: Level
    implicit_only: bool = False
    limit: Limit | None = None

    @property
    def at_once(self) -> bool:
        """Whether the very first happening is one too many."""
        return self.level == "error" and (self.limit is None or self.limit.n == 0)

    def __str__(self) -> str:
        if self.limit is not None:
            return str(self.limit)
        return f"{self.level}:implicit" if self.implicit_only else self.level


LOG: Final = Setting("log")


def setting(value: object, label: str, kind: Kind | None = None) -> Setting:
    """The setting that ``value`` stands for.

    Args:
        value: a level word, an int, a `Limit`, a `Setting`, or the text of one of them.
        label: how the user wrote the option (``sync``, ``--sync``, ``TENSORWATCH_GUARD_SYNC``), for the message.
        kind: the kind it is for. Kinds that are never written explicitly take "error:implicit" as "error".

    Raises:
        ConfigError: if it is none of these.
    """
    found = _setting(value, label)
    if found is None:
        raise ConfigError(f"{label}={value!r} is no level; good values: {GOOD_SETTINGS}{hint(value, WORDS)}")
    return suited(found, kind)


def suited(found: Setting, kind: Kind | None) -> Setting:
    """``found`` as it holds for ``kind``: narrowing means nothing where there is nothing explicit."""
    if found.implicit_only and kind is not None and kind not in NARROWABLE:
        return Setting(found.level)
    return found


def bare_level(value: object, label: str) -> Setting:
    """The setting for a bare level word, as in ``guard("warn")``: a word, never a count.

    Raises:
        ConfigError: if it is not one of the level words.
    """
    found = _setting(value, label) if isinstance(value, str | Setting) else None
    if found is None or found.limit is not None:
        raise ConfigError(f"{label}={value!r} is no level; good values: {GOOD_WORDS}{hint(value, WORDS)}")
    return found


def _setting(value: object, label: str) -> Setting | None:
    if isinstance(value, Setting):
        return value
    if isinstance(value, Limit):
        return Setting("error", limit=value)
    if isinstance(value, int) and not isinstance(value, bool):  # sync=False must not come to mean "at most 0"
        return Setting("error", limit=_limit(value, "run", label))
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    if word in WORDS:
        level, _, narrow = word.partition(":")
        return Setting(cast("Level", level), implicit_only=bool(narrow))
    if count := _COUNT.fullmatch(word):
        return Setting("error", limit=_limit(int(count[1]), count[2] or "run", label))
    return None


def _limit(n: int, per: str, label: str) -> Limit:
    try:
        return Limit(n, cast("Per", per))
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None


def hint(value: object, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` for the nearest of the ``known`` words, whatever its case, or nothing."""
    import difflib  # only a mistake pays for it

    words = {word.lower(): word for word in known}
    near = difflib.get_close_matches(str(value).strip().lower(), words, n=1, cutoff=0.6)
    return f' (did you mean "{words[near[0]]}"?)' if near else ""
