"""The one table of options, and `Config`: what a guard was asked to do.

The fields of `Config` are the table. Keyword arguments, environment variables, ``[tool.tensorwatch_guard]``, the
command line and ``docs/options.md`` are all read off it, so an option is added by adding a field. Values are checked
here, before anything is patched; one that cannot be meant is a `ConfigError` naming the option and the good values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, get_args

from . import values
from .levels import (
    FOLLOWS_LEVEL,
    GOOD_SETTINGS,
    GOOD_WORDS,
    LOG,
    ConfigError,
    Setting,
    bare_level,
    hint,
    suited,
)
from .values import Writes, file_for, unwritable

if TYPE_CHECKING:
    from typing_extensions import Self

    from .words import Direction, Finding, Kind

Source = Literal["keyword", "env", "pyproject", "cli"]
Given = Mapping[str, tuple[object, str]]
"""Option name to (value, the label under which the user wrote it)."""

VARIABLE: Final = "TENSORWATCH_GUARD"
KILL_SWITCH: Final = "TENSORWATCH_GUARD_DISABLE"
TABLE: Final = "tool.tensorwatch_guard"
ANYWHERE: Final[tuple[Source, ...]] = get_args(Source)


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table: how a value is read, what it may be, where it may be given."""

    name: str
    default: object
    parse: Callable[[object, str], object]
    good: str
    help: str
    where: tuple[Source, ...]

    @property
    def is_switch(self) -> bool:
        """Whether the command line takes it without a value."""
        return self.parse is values.switch

    @property
    def flag(self) -> str:
        """How the command line writes it."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable; the level's is the one that switches the guard on."""
        return VARIABLE if self.name == "level" else f"{VARIABLE}_{self.name.upper()}"


def _row(
    default: object,
    parse: Callable[[object, str], object],
    good: str,
    text: str,
    where: tuple[Source, ...] = ANYWHERE,
) -> Any:  # what the field's own annotation says
    return field(default=default, metadata={"parse": parse, "good": good, "help": text, "where": where})


def _level_row(kind: Kind, text: str) -> Any:
    return _row(None, values.setting_of(kind), GOOD_SETTINGS, text)


def _switch_row(text: str, *, default: bool) -> Any:
    return _row(default, values.switch, "yes, no", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a guard was asked to do. Every field but ``named`` is an option; a kind is None until it is named."""

    level: Setting = _row(
        LOG,
        bare_level,
        GOOD_WORDS,
        "Sets sync, transfer, mutation and hazard. Reads, aliases and refusals stay log unless they are named.",
    )
    sync: Setting | None = _level_row("sync", "The host waits for a device.")
    transfer: Setting | None = _level_row("transfer", "Data moves between devices, in whichever direction.")
    h2d: Setting | None = _level_row("transfer", "Copies from the host to a device. Overrules transfer.")
    d2h: Setting | None = _level_row("transfer", "Copies from a device to the host. Overrules transfer.")
    d2d: Setting | None = _level_row("transfer", "Copies from device to device. Overrules transfer.")
    alias: Setting | None = _level_row("alias", "A tensor and an array come to share memory.")
    mutation: Setting | None = _level_row("mutation", "Shared memory is written after a side was handed out.")
    hazard: Setting | None = _level_row(
        "hazard", "A consequence: stale gradient, dangling alias, overtaken copy."
    )
    refusal: Setting | None = _level_row("refusal", "A conversion that PyTorch refused.")
    read: Setting | None = _level_row(
        "read", "A host read of a CPU tensor; a sync once it lives on a device."
    )
    writes: Writes = _row(
        "auto",
        values.writes,
        ", ".join(get_args(Writes)),
        "How later writes are found: not at all (off), as an interval (check), by line after the first one (auto), "
        "by line from the start (exact).",
    )
    ops: bool = _switch_row(
        "Also watch below Python: copies and writes in C++, optimizers, backward.", default=False
    )
    after: int = _row(
        0, values.count, "0, 1, 2, ...", "Levels and limits hold only after so many steps (warm-up)."
    )
    report: str | Literal[False] | TextIO | None = _row(
        None,
        values.report,
        "off, a path, or (as a keyword) a stream",
        "Where the text report goes instead of stderr. A path that ends in .json means the same as json.",
    )
    json: str | None = _row(
        None,
        values.path,
        "a path; %p becomes the process id, %r the rank",
        "Write the report file there: at the end, and every 30 s on the way.",
    )
    follow_children: bool = _switch_row(
        "Also guard DataLoader workers and other child processes.", default=True
    )
    census: bool = _switch_row("Also look for memory that was shared before the guard began.", default=False)
    baseline: str | None = _row(
        None,
        values.path,
        "a path",
        "What is in this file is known and passes; what is new, and what became more, breaks it.",
    )
    update_baseline: bool = _switch_row("Write the baseline anew from what this run finds.", default=False)
    ignore: Callable[[Finding], object] | None = _row(
        None,
        values.function,
        "a function of a finding (as a keyword)",
        "A rule of your own: findings for which it says yes are left out, and break no level and no limit.",
        ("keyword",),
    )
    simulate: str | None = _row(
        None,
        values.device,
        "cuda",
        "Run on a simulated accelerator of this kind, on a machine without one.",
        ("env", "cli"),
    )
    named: frozenset[str] = frozenset()

    @classmethod
    def from_keywords(cls, level: object = "log", **options: object) -> Self:
        """The config of ``guard(level, **options)``.

        Raises:
            ConfigError: for an unknown option or a bad value.
        """
        given = options if level == "log" else {"level": level, **options}
        return cls._read("keyword", {name: (value, name) for name, value in given.items()})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The config that the variables ask for: ``TENSORWATCH_GUARD`` and ``TENSORWATCH_GUARD_<OPTION>``.

        An empty variable counts as unset; "1" switches on and names no level.

        Raises:
            ConfigError: for an unknown variable with our prefix, or a bad value.
        """
        given: dict[str, tuple[object, str]] = {}
        for variable, text in environ.items():
            if variable.startswith(f"{VARIABLE}_") and variable != KILL_SWITCH and text.strip():
                given[variable[len(VARIABLE) + 1 :].lower()] = (text, variable)
        word = environ.get(VARIABLE, "").strip().lower()
        if word and word not in values.YES | values.NO:
            given["level"] = (word, VARIABLE)
        return cls._read("env", given)

    @classmethod
    def from_pyproject(cls, path: str | os.PathLike[str]) -> Self:
        """The config in ``[tool.tensorwatch_guard]`` of that file; files in it are relative to its directory.

        Raises:
            ConfigError: for an unknown option, a bad value, or a file that cannot be read.
        """
        home = os.path.dirname(os.path.abspath(path))
        given: dict[str, tuple[object, str]] = {}
        for key, value in _table_of(path).items():
            name = key.replace("-", "_")
            is_file = (
                name in {"json", "report", "baseline"}
                and isinstance(value, str)
                and value.strip().lower() not in values.NO
            )
            given[name] = (os.path.join(home, str(value)) if is_file else value, f"[{TABLE}] {key}")
        try:
            return cls._read("pyproject", given)
        except ConfigError as error:
            raise ConfigError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def from_cli(cls, arguments: Mapping[str, object]) -> Self:
        """The config of a parsed command line, ``vars(namespace)``. What is None or no option is passed over.

        Raises:
            ConfigError: for a bad value.
        """
        rows = rows_for("cli")
        given = {name: value for name, value in arguments.items() if name in rows and value is not None}
        return cls._read("cli", {name: (value, rows[name].flag) for name, value in given.items()})

    @classmethod
    def _read(cls, source: Source, given: Given) -> Self:
        rows = rows_for(source)
        read: dict[str, Any] = {}
        for name, (value, label) in given.items():
            if name not in rows:
                raise ConfigError(_unknown(name, label, source))
            read[name] = rows[name].parse(value, label)
        report = read.get("report")
        if isinstance(report, str) and report.lower().endswith(".json"):
            if read.get("json") is None:
                read["json"] = report
            elif read["json"] != report:
                raise ConfigError(
                    f"report={report!r} and json={read['json']!r} ask for two report files; name one"
                )
            del read["report"]
        return cls(**read, named=frozenset(read))

    def merged(self, over: Config) -> Self:
        """This config with everything that ``over`` names put on top of it."""
        changed: dict[str, Any] = {name: getattr(over, name) for name in over.named}
        return replace(self, **changed, named=self.named | over.named)

    def setting(self, kind: Kind, direction: Direction | None = None) -> Setting:
        """What holds for ``kind``. The direction of a transfer, if it was named, overrules transfer."""
        own: Setting | None = getattr(self, direction) if kind == "transfer" and direction else None
        own = own or getattr(self, kind)
        if own is not None:
            return own
        return suited(self.level, kind) if kind in FOLLOWS_LEVEL else LOG

    def check_sense(self) -> None:
        """Whether the options go together.

        Raises:
            ConfigError: if a level is set for what the same config does not look for.
        """
        if self.writes != "off":
            return
        for name in ("mutation", "hazard"):
            asked = getattr(self, name)
            if asked is not None and asked.level in ("warn", "error"):
                never = f"{name}={str(asked)!r} can never fail: leave one of the two out"
                raise ConfigError(f'writes="off" finds no {name}, so {never}')

    def anchored(self) -> Config:
        """With its files where they were asked for, wherever the program goes."""
        asked = {name: getattr(self, name) for name in ("json", "report", "baseline")}
        paths = {name: _absolute(path) for name, path in asked.items() if isinstance(path, str)}
        return replace(self, **paths) if paths else self  # type: ignore[arg-type]

    def check_files(self) -> None:
        """Find out now, and not after hours of training, whether the files asked for can be written.

        Raises:
            ConfigError: naming the option, the path and the reason.
        """
        self.check_sense()
        for label, path in (("report", self.report), ("json", self.json)):
            if isinstance(path, str) and (reason := unwritable(file_for(path))):
                raise ConfigError(f"{label}={path!r} cannot be written: {reason}")
        if self.update_baseline and self.baseline is None:
            raise ConfigError("update_baseline: name the file that is to be written, with baseline=")
        if self.baseline is not None and self.update_baseline:
            if reason := unwritable(self.baseline):
                raise ConfigError(f"baseline={self.baseline!r} cannot be written: {reason}")
        elif self.baseline is not None:
            from .policy.baseline import load

            load(self.baseline)


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError:  # the directory is gone
        return path


OPTIONS: Final[tuple[Option, ...]] = tuple(
    Option(name=one.name, default=one.default, **one.metadata) for one in fields(Config) if one.metadata
)
"""The table, a row an option, in the order in which it is shown."""


def rows_for(source: Source) -> dict[str, Option]:
    """The options that ``source`` may name, by name."""
    return {row.name: row for row in OPTIONS if source in row.where}


_ELSEWHERE: Final = {"simulate": 'run --simulate, in code simulated_accelerator("cuda")'}
"""What is no option there, and what it is instead."""


def _unknown(name: str, label: str, source: Source) -> str:
    rows = rows_for(source)
    if source == "env":
        known = [*(row.variable for row in rows.values()), KILL_SWITCH]
        return f"there is no variable {label}{hint(label, known)}; variables: {', '.join(known)}"
    where = f"{label}: " if source == "pyproject" else ""
    elsewhere = f" (it is {_ELSEWHERE[name]})" if name in _ELSEWHERE else hint(name, rows)
    return f"{where}there is no option {name!r}{elsewhere}; options: {', '.join(rows)}"


def is_on(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for a guard: its variable is set and no "no", and the kill switch is not."""
    word = environ.get(VARIABLE, "").strip().lower()
    return bool(word) and word not in values.NO and not is_killed(environ)


def is_killed(environ: Mapping[str, str]) -> bool:
    """Whether ``TENSORWATCH_GUARD_DISABLE`` is set to anything but a no."""
    return environ.get(KILL_SWITCH, "").strip().lower() not in values.NO | {""}


def pyproject_near(start: str | os.PathLike[str]) -> str | None:
    """The nearest pyproject.toml in or above ``start`` that has our table, or None.

    Raises:
        ConfigError: if one on the way is no TOML.
    """
    here = os.path.abspath(start)
    while True:
        path = os.path.join(here, "pyproject.toml")
        if os.path.isfile(path) and _table_of(path):
            return path
        above = os.path.dirname(here)
        if above == here:
            return None
        here = above


def _table_of(path: str | os.PathLike[str]) -> Mapping[str, object]:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]
    try:
        with open(path, "rb") as file:
            tool = tomllib.load(file).get("tool", {})
    except (OSError, ValueError) as error:
        raise ConfigError(f"{os.fspath(path)} cannot be read: {error}") from None
    table = tool.get("tensorwatch_guard", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"{os.fspath(path)}: {TABLE} is no table; write [{TABLE}] and the options below it")
    return table
