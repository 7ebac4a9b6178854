"""The pytest plugin's settings: pyproject, ini, flag, marker; what cannot be meant is one line before any test runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugin_runs import run
from tensorwatch_guard.options import OPTIONS as TABLE
from tensorwatch_guard.pytest_plugin import OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

READS = """
    import torch

    def test_reads():
        torch.ones(1).item()
"""


def marked(arguments: str) -> str:
    return f"""
        import pytest, torch
        from tensorwatch_guard import limit

        @pytest.mark.tensorwatch{arguments}
        def test_marked():
            torch.ones(1).item()
    """


def test_every_option_that_suits_a_test_can_be_set() -> None:
    of_whole_programs = {"level", "report", "json", "baseline", "update_baseline", "ignore", "simulate"}
    assert {row.name for row in TABLE} - of_whole_programs == set(OPTIONS)


def test_an_ini_level_guards_every_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(READS)
    pytester.makeini("[pytest]\ntensorwatch = log\ntensorwatch_read = 0\n")
    run(pytester).assert_outcomes(failed=1)
    run(pytester, "--tensorwatch=off").assert_outcomes(passed=1)


def test_ini_options_alone_guard_nothing_but_are_defaults(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(READS)
    pytester.makeini("[pytest]\ntensorwatch_read = 0\n")
    run(pytester).assert_outcomes(passed=1)
    run(pytester, "--tensorwatch").assert_outcomes(failed=1)
    pytester.makepyfile(marked(""))
    run(pytester).assert_outcomes(failed=1)
    pytester.makepyfile(marked('(read="log")'))
    run(pytester).assert_outcomes(passed=1)


def test_pyproject_is_read_and_ini_stands_above_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(READS)
    text = '[tool.tensorwatch_guard]\nread = "1"\nreport = "never.txt"\njson = "never.json"\nsimulate = "cuda"\n'
    pytester.makepyprojecttoml(text.replace('simulate = "cuda"\n', ""))
    run(pytester, "--tensorwatch").assert_outcomes(passed=1)
    pytester.makepyprojecttoml(text.replace('"1"', "0").replace('simulate = "cuda"\n', ""))
    run(pytester, "--tensorwatch").assert_outcomes(failed=1)
    pytester.makeini("[pytest]\ntensorwatch_read = 5\n")
    run(pytester, "--tensorwatch").assert_outcomes(passed=1)
    assert not list(pytester.path.glob("never*"))


def test_a_marker_takes_the_whole_grammar(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(marked('("warn", read=limit(1, per="step"), writes="exact", after=0, ops=False)'))
    run(pytester).assert_outcomes(passed=1)


BAD_MARKERS = {
    "(snyc=0)": "there is no option 'snyc' here (did you mean \"sync\"?)",
    '(sync="eror")': "sync='eror' is no level",
    "(sync=-1)": "a limit is a whole number",
    '("log", "error")': "one level is wanted, not 2",
    '("log", level="error")': "two levels",
    '("loud")': "level='loud' is no level",
    '(writes="off", mutation=0)': 'writes="off" finds no mutation',
    '(report="file.txt")': "there is no option 'report' here",
    "(sync=0)\n        @pytest.mark.tensorwatch(alias=0)": "two tensorwatch markers on one test",
}


@pytest.mark.parametrize("marker", BAD_MARKERS, ids=str)
def test_a_marker_that_cannot_be_meant_stops_the_run_with_one_line(marker: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(marked(marker))
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in (*result.errlines, *result.outlines) if "ERROR" in line]
    assert len(errors) == 1
    assert BAD_MARKERS[marker] in errors[0]
    assert "::test_marked" in errors[0]
    assert "passed" not in result.stdout.str()


BAD_SETTINGS = {
    "--tensorwatch=eror": "--tensorwatch='eror' is no level",
    "--tensorwatch=3": "--tensorwatch='3' is no level",
    "--tensorwatch-update-baseline": "name the file with --tensorwatch-baseline FILE",
    "--tensorwatch-baseline=none.json": "there is no baseline",
    "--tensorwatch-report=file.txt/below": "file.txt/below",
    "--override-ini=tensorwatch=loud": "tensorwatch='loud' is no level",
    "--override-ini=tensorwatch_read=many": "tensorwatch_read='many' is no level",
    "--override-ini=tensorwatch_writes=sometimes": "tensorwatch_writes='sometimes' is no way to watch writes",
}


@pytest.mark.parametrize("setting", BAD_SETTINGS)
def test_a_setting_that_cannot_be_meant_stops_the_run_with_one_line(
    setting: str, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(READS)
    (pytester.path / "file.txt").write_text("")
    result = run(pytester, setting, *(["--tensorwatch"] if "ini" in setting and "=loud" not in setting else []))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = "\n".join((*result.errlines, *result.outlines))
    assert BAD_SETTINGS[setting] in text
    assert len(text.strip().splitlines()) == 1


def test_a_path_behind_the_bare_flag_is_explained(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=READS)
    result = run(pytester, "--tensorwatch", "test_it.py")
    said = "ERROR: --tensorwatch test_it.py: a level is wanted; write --tensorwatch=log test_it.py"
    result.stderr.fnmatch_lines([said])


def test_a_broken_pyproject_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(READS)
    pytester.makepyprojecttoml('[tool.tensorwatch_guard]\nsnyc = "error"\n')
    result = run(pytester, "--tensorwatch")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *pyproject.toml: *there is no option 'snyc' (did you mean \"sync\"?)*"])


def test_the_marker_is_known_to_strict_runs_and_documented(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.makepyfile(marked(""))
    run(pytester, "--strict-markers").assert_outcomes(passed=1)
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.tensorwatch(level*guard this test*"])
