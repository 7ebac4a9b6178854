"""The grammar of levels and the one table of options, from wherever values come."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tensorwatch_guard import guard
from tensorwatch_guard.levels import ConfigError, Limit, Setting, limit
from tensorwatch_guard.options import OPTIONS, Config, is_on, pyproject_near
from tensorwatch_guard.words import DIRECTIONS, KINDS

ROOT = Path(__file__).resolve().parent.parent
LEVEL_OPTIONS = (*KINDS, *DIRECTIONS)

GOOD_LEVELS = [
    ("off", Setting("off")),
    ("log", Setting("log")),
    ("warn", Setting("warn")),
    ("error", Setting("error")),
    (" Error ", Setting("error")),
    (0, Setting("error", limit=Limit(0))),
    (3, Setting("error", limit=Limit(3, "run"))),
    (limit(1, per="step"), Setting("error", limit=Limit(1, "step"))),
    (limit(5, per="site"), Setting("error", limit=Limit(5, "site"))),
    ("7", Setting("error", limit=Limit(7))),
    ("2/step", Setting("error", limit=Limit(2, "step"))),
    ("2 / site", Setting("error", limit=Limit(2, "site"))),
]
BAD_WORDS = ["eror", "", "error:explicit", "off:implicit", "log:implicit", "-2", "2/epoch"]
BAD_LEVELS = [*BAD_WORDS, True, False, 1.5, -1, None, []]


@pytest.mark.parametrize("name", LEVEL_OPTIONS)
@pytest.mark.parametrize(("given", "meant"), GOOD_LEVELS)
def test_every_kind_and_direction_takes_every_level_and_limit(name: str, given: object, meant: Setting):
    assert getattr(Config.from_keywords(**{name: given}), name) == meant


@pytest.mark.parametrize("name", LEVEL_OPTIONS)
def test_narrowing_holds_where_something_can_be_explicit(name: str):
    narrowed = getattr(Config.from_keywords(**{name: "error:implicit"}), name)
    assert narrowed == Setting("error", implicit_only=name not in {"mutation", "hazard", "refusal"})


@pytest.mark.parametrize("name", LEVEL_OPTIONS)
@pytest.mark.parametrize("given", BAD_LEVELS)
def test_a_bad_level_is_an_error_that_names_the_option(name: str, given: object):
    with pytest.raises(ConfigError) as raised:
        Config.from_keywords(**{name: given})
    assert name in str(raised.value)


def test_a_bad_level_lists_the_good_ones_and_the_nearest():
    with pytest.raises(ValueError, match=r'sync=.eror. .*off, log, warn, error, .*limit\(n.*did you mean "error"'):
        Config.from_keywords(sync="eror")


@pytest.mark.parametrize("bad", [(-1, "run"), (True, "run"), (1.0, "run"), ("1", "run"), (1, "epoch"), (1, None)])
def test_a_limit_that_cannot_be_meant(bad: tuple[object, object]):
    with pytest.raises(ConfigError):
        limit(*bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "at_once"), [("error", True), (0, True), (limit(0, per="step"), True), (1, False), ("warn", False)]
)
def test_a_limit_of_zero_acts_at_once_as_error_does(given: object, at_once: bool):
    assert Config.from_keywords(sync=given).setting("sync").at_once is at_once


def test_a_bare_word_sets_waits_copies_writes_and_hazards_only():
    config = Config.from_keywords("error")
    levels = {kind: config.setting(kind).level for kind in KINDS}
    assert {kind for kind, level in levels.items() if level == "error"} == {"sync", "transfer", "mutation", "hazard"}
    assert {levels[kind] for kind in ("read", "alias", "refusal")} == {"log"}


def test_a_named_kind_overrules_the_bare_word():
    config = Config.from_keywords("error", mutation="off", alias="warn")
    assert config.setting("mutation") == Setting("off")
    assert config.setting("alias") == Setting("warn")
    assert config.setting("sync") == Setting("error")


def test_a_bare_narrowed_word_narrows_what_can_be_explicit():
    config = Config.from_keywords("error:implicit")
    assert config.setting("sync") == Setting("error", implicit_only=True)
    assert config.setting("mutation") == Setting("error")


@pytest.mark.parametrize("bad", [0, 3, limit(1), "2/step", True, None, "eror"])
def test_a_bare_level_is_a_word(bad: object):
    with pytest.raises(ConfigError, match="level="):
        Config.from_keywords(bad)


def test_a_direction_overrules_transfer():
    config = Config.from_keywords(transfer="warn", d2h=0)
    assert config.setting("transfer", "d2h") == Setting("error", limit=Limit(0))
    assert config.setting("transfer", "h2d") == config.setting("transfer") == Setting("warn")
    assert Config.from_keywords("error", h2d="off").setting("transfer", "h2d") == Setting("off")


def test_unknown_options_are_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'snyc' \(did you mean \"sync\"\?\); options: level, sync, "):
        Config.from_keywords(snyc="error")


@pytest.mark.parametrize(
    ("option", "bad", "good"),
    [
        ("writes", "exat", "off, check, auto, exact"),
        ("writes", 1, "off, check, auto, exact"),
        ("ops", "perhaps", "yes, no"),
        ("ops", 2, "yes, no"),
        ("after", -1, "0, 1, 2"),
        ("after", True, "0, 1, 2"),
        ("after", 1.5, "0, 1, 2"),
        ("report", 3, "a path, a stream"),
        ("report", " ", "a path, a stream"),
        ("json", "", "the path of a file"),
        ("json", b"bytes", "the path of a file"),
    ],
)
def test_other_options_list_their_good_values(option: str, bad: object, good: str):
    with pytest.raises(ConfigError) as raised:
        Config.from_keywords(**{option: bad})
    assert str(raised.value).startswith(f"{option}=")
    assert good in str(raised.value)


def test_simulating_is_asked_for_from_outside_only():
    with pytest.raises(ConfigError, match="simulate"):
        Config.from_keywords(simulate="cuda")
    assert Config.from_cli({"simulate": "cuda"}).simulate == "cuda"
    with pytest.raises(ConfigError, match="good values: cuda"):
        Config.from_environment({"TENSORWATCH_GUARD_SIMULATE": "my gpu"})


def test_where_a_report_goes(tmp_path: Path):
    stream = io.StringIO()
    assert Config.from_keywords(report=stream).report is stream
    assert Config.from_keywords(report=False).report is False
    assert Config.from_keywords(report=True).report is None
    assert Config.from_keywords(report=tmp_path / "r.txt").report == str(tmp_path / "r.txt")
    as_file = Config.from_keywords(report="run.json")
    assert (as_file.report, as_file.json) == (None, "run.json")
    with pytest.raises(ConfigError, match="two report files"):
        Config.from_keywords(report="a.json", json="b.json")


def test_the_environment_names_options():
    config = Config.from_environment(
        {
            "TENSORWATCH_GUARD": "warn",
            "TENSORWATCH_GUARD_D2H": "2/step",
            "TENSORWATCH_GUARD_OPS": "1",
            "TENSORWATCH_GUARD_AFTER": "3",
            "TENSORWATCH_GUARD_REPORT": "off",
            "TENSORWATCH_GUARD_WRITES": "",
            "TENSORWATCH_GUARD_DISABLE": "1",
            "TENSORWATCH": "not ours",
        }
    )
    assert config.level == Setting("warn")
    assert config.d2h == Setting("error", limit=Limit(2, "step"))
    assert (config.ops, config.after, config.report, config.writes) == (True, 3, False, "auto")


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("TENSORWATCH_GUARD", "eror", 'TENSORWATCH_GUARD=.eror. .*did you mean "error"'),
        ("TENSORWATCH_GUARD_SYNC", "-1", "TENSORWATCH_GUARD_SYNC: limit"),
        ("TENSORWATCH_GUARD_SNYC", "error", "TENSORWATCH_GUARD_SNYC .did you mean .TENSORWATCH_GUARD_SYNC"),
        ("TENSORWATCH_GUARD_NAMED", "x", "no variable TENSORWATCH_GUARD_NAMED"),
    ],
)
def test_bad_variables_are_named_as_written(variable: str, text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        Config.from_environment({variable: text})


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"TENSORWATCH_GUARD": ""}, False),
        ({"TENSORWATCH_GUARD": "0"}, False),
        ({"TENSORWATCH_GUARD": "off"}, False),
        ({"TENSORWATCH_GUARD": "1"}, True),
        ({"TENSORWATCH_GUARD": "error"}, True),
        ({"TENSORWATCH_GUARD": "1", "TENSORWATCH_GUARD_DISABLE": "1"}, False),
        ({"TENSORWATCH_GUARD": "1", "TENSORWATCH_GUARD_DISABLE": "0"}, True),
        ({"TENSORWATCH_GUARD_SYNC": "error"}, False),
    ],
)
def test_when_the_variable_is_on(environ: dict[str, str], on: bool):
    assert is_on(environ) is on


def test_switching_on_names_no_level():
    assert Config.from_environment({"TENSORWATCH_GUARD": "1"}).named == frozenset()


def write_pyproject(directory: Path, text: str) -> Path:
    path = directory / "pyproject.toml"
    path.write_text(text)
    return path


def test_pyproject_is_found_above_and_its_paths_are_its_own(tmp_path: Path):
    text = '[tool.tensorwatch_guard]\nsync = 0\nd2h = "1/step"\njson = "out/r.json"\nops = true\n'
    path = write_pyproject(tmp_path, text)
    below = tmp_path / "package" / "deep"
    below.mkdir(parents=True)
    write_pyproject(tmp_path / "package", "[project]\nname = 'no table of ours'\n")
    found = pyproject_near(below)
    assert found == str(path)
    config = Config.from_pyproject(found)
    assert config.setting("sync") == Setting("error", limit=Limit(0))
    assert config.setting("transfer", "d2h") == Setting("error", limit=Limit(1, "step"))
    assert config.json == os.path.join(tmp_path, "out/r.json")
    assert config.ops is True


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.tensorwatch_guard]\nsnyc = 'error'\n", 'did you mean "sync"'),
        ("[tool.tensorwatch_guard]\nsync = false\n", "sync=False is no level"),
        ("[tool]\ntensorwatch_guard = 3\n", "is no table"),
        ("[tool.tensorwatch_guard\n", "cannot be read"),
    ],
)
def test_a_bad_pyproject_is_named(tmp_path: Path, text: str, told: str):
    path = write_pyproject(tmp_path, text)
    with pytest.raises(ConfigError, match=told) as raised:
        Config.from_pyproject(path)
    assert str(path) in str(raised.value)


def test_layers_overrule_option_by_option(tmp_path: Path):
    path = write_pyproject(tmp_path, '[tool.tensorwatch_guard]\nlevel = "warn"\nafter = 5\nalias = "warn"\n')
    merged = (
        Config.from_pyproject(path)
        .merged(Config.from_environment({"TENSORWATCH_GUARD": "1", "TENSORWATCH_GUARD_AFTER": "0"}))
        .merged(Config.from_cli({"alias": "error", "writes": None, "script": ["train.py"]}))
    )
    assert merged.level == Setting("warn")
    assert merged.after == 0
    assert merged.alias == Setting("error")
    assert merged.writes == "auto"
    assert merged.named == {"level", "after", "alias"}


def test_the_command_line_names_its_flags():
    with pytest.raises(ConfigError, match="--sync='eror'"):
        Config.from_cli({"sync": "eror"})


@pytest.mark.parametrize("option", ["json", "report"])
def test_files_that_cannot_be_written_are_known_at_the_start(tmp_path: Path, option: str):
    with pytest.raises(ConfigError, match=f"{option}=.*there is no directory"):
        Config.from_keywords(**{option: tmp_path / "missing" / "r.txt"}).check_files()
    with pytest.raises(ConfigError, match=f"{option}=.*is a directory; name a file in it"):
        Config.from_keywords(**{option: tmp_path}).check_files()
    Config.from_keywords(**{option: tmp_path / "%p-%r.txt"}).check_files()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="not writable"):
        Config.from_keywords(json=tmp_path / "r.json").check_files()


def test_every_row_says_what_it_is():
    for row in OPTIONS:
        assert row.help.endswith("."), row.name
        assert row.good, row.name
        assert row.where, row.name
        assert row.default is None or row.parse(row.default, row.name) == row.default, row.name


def test_the_page_of_options_is_written_from_the_table():
    from tensorwatch_guard.options_page import page

    kept = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert kept == page(), "run `make docs`"


@pytest.mark.parametrize("name", ["mutation", "hazard"])
def test_a_level_for_what_is_not_looked_for_is_an_error(name: str):
    with pytest.raises(ConfigError, match=f'writes="off" finds no {name}'):
        guard(writes="off", **{name: "error"})


def test_what_cannot_be_simulated_is_an_error():
    with pytest.raises(ConfigError, match="simulate='tpu' is no kind of device; good values: cuda"):
        Config.from_cli({"simulate": "tpu"})
