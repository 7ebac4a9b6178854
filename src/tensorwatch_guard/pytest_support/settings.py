"""What a test run asks of its guards: pyproject, ini settings, flag and marker, each on top of the one before.

Pure functions of pytest's configuration; a value that cannot be meant is a ``ConfigError`` of one line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ..levels import LOG, ConfigError, bare_level, hint
from ..options import Config, pyproject_near
from ..pytest_plugin import OPTIONS

if TYPE_CHECKING:
    import pytest

_FILES: Final = ("report", "json", "baseline", "update_baseline", "simulate")
"""Options of whole programs; a test run has settings of its own for the first four."""


def defaults(config: pytest.Config) -> Config:
    """What holds for every guarded test: ``[tool.tensorwatch_guard]``, and the ini settings on top of it.

    Child processes are not followed unless one of them says so.

    Raises:
        ConfigError: naming the setting and the good values.
    """
    base = Config(follow_children=False)  # what they would cost each test, few tests need
    path = pyproject_near(config.rootpath)
    if path is not None:
        base = base.merged(Config.from_pyproject(path))
        plain: dict[str, Any] = {name: getattr(Config(), name) for name in _FILES}
        base = replace(base, **plain, named=base.named - set(_FILES))
    given = {name: text for name in OPTIONS if (text := str(config.getini(f"tensorwatch_{name}") or "").strip())}
    try:
        return replace(base.merged(Config.from_keywords(**given)), report=False)
    except ConfigError as error:
        raise ConfigError(f"tensorwatch_{error}") from None


def level_for_all(config: pytest.Config, base: Config) -> Config | None:
    """The settings for tests without a marker; None where only marked tests are guarded.

    Raises:
        ConfigError: for a level that is none; a path that stood behind the flag is told apart.
    """
    flag, ini = config.getoption("tensorwatch"), str(config.getini("tensorwatch") or "").strip()
    if flag is None:
        word, label = ini, "tensorwatch"
    else:
        word, label = flag or ini, "--tensorwatch" if flag else "tensorwatch"
    if flag is None and (not word or word.lower() == "off"):
        return None
    if not word or word.lower() in ("on", "yes", "true", "1"):
        return base
    try:
        level = bare_level(word, label)
    except ConfigError as error:
        if flag and ("/" in flag or "." in flag or "::" in flag):
            raise ConfigError(f"--tensorwatch {flag}: a level is wanted; write --tensorwatch=log {flag}") from None
        raise ConfigError(str(error)) from None
    return None if level.level == "off" else base.merged(Config.from_keywords(level))


def check(config: Config) -> Config:
    """The same config, if it can be meant as a whole.

    Raises:
        ConfigError: if a level is set for what the same config does not look for.
    """
    config.check_sense()
    return config


def of_keywords(base: Config, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Config:
    """``base`` with what a marker or a call of the fixture names on top.

    Raises:
        ConfigError: for an unknown option, a bad value, or values that contradict each other.
    """
    if len(args) > 1:
        raise ConfigError(f"one level is wanted, not {len(args)}: {', '.join(map(repr, args))}")
    known = (*OPTIONS, "ignore")
    for name in kwargs:
        if name != "level" and name not in known:
            raise ConfigError(f"there is no option {name!r} here{hint(name, known)}; options: {', '.join(known)}")
    given = dict(kwargs)
    level = args[0] if args else given.pop("level", None)
    if args and "level" in given:
        raise ConfigError(f"two levels: {args[0]!r} and {given['level']!r}")
    if level is not None:  # as a setting, so that "log" counts as named, too
        given["level"] = LOG if level == "log" else bare_level(level, "level")
    return check(base.merged(Config.from_keywords(given.pop("level", "log"), **given)))


def marked(item: pytest.Item, base: Config) -> Config | None:
    """The settings of a test's markers: the module's, the class's on top of it, the test's own on top of both.

    Raises:
        ConfigError: naming the test, for a marker that cannot be meant, or two at one place.
    """
    config = base
    found = False
    places: dict[str, int] = {}
    for node, _ in item.iter_markers_with_node("tensorwatch"):
        places[node.nodeid] = places.get(node.nodeid, 0) + 1
        if places[node.nodeid] > 1:
            raise ConfigError(f"{item.nodeid}: two tensorwatch markers on one test; put all options into one")
    for mark in reversed(list(item.iter_markers("tensorwatch"))):
        found = True
        try:
            config = of_keywords(config, mark.args, dict(mark.kwargs))
        except ConfigError as error:
            raise ConfigError(f"{item.nodeid}: @pytest.mark.tensorwatch: {error}") from None
    return config if found else None


def is_off(config: Config) -> bool:
    """Whether nothing at all is asked for."""
    return config.level.level == "off" and not (config.named - {"level", "report"})
