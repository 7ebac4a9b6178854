"""What the pytest plugin reads and writes: baselines, report files, annotations; with xdist, beside other plugins."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from plugin_runs import INSTALLED, PLAIN, PLUGIN, SOURCES, run, run_child
from tensorwatch_guard import Report

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

WRITES = """
    import pytest, torch

    def writes(times=1):
        for _ in range(times):
            t = torch.zeros(2)
            t.numpy()[0] = 1

    def test_one():
        writes()

    def test_other():
        writes(TIMES)

    def test_clean():
        torch.ones(1).item()
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_suite=WRITES.replace("TIMES", "3"))
    return pytester


def rows(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(path.read_text())["findings"]
    return found


def test_a_baseline_is_made_and_then_passes(suite: pytest.Pytester) -> None:
    made = run(suite, "--tensorwatch=error", "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    made.assert_outcomes(passed=3)
    made.stdout.fnmatch_lines(["known.json holds 1 findings that pass from now on"])
    known = rows(suite.path / "known.json")
    assert [(row["kind"], row["count"]) for row in known] == [("mutation", 3)], "the most that one test had"
    run(suite, "--tensorwatch=error", "--tensorwatch-baseline=known.json").assert_outcomes(passed=3)
    run(suite, "--tensorwatch-baseline=known.json").assert_outcomes(passed=3)


def test_what_is_new_or_more_fails_the_test_that_has_it(suite: pytest.Pytester) -> None:
    run(suite, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    suite.makepyfile(test_suite=WRITES.replace("TIMES", "5"))
    result = run(suite, "--tensorwatch-baseline=known.json")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*more: 5 times, known.json lets 3 times pass", "FAILED (tensorwatch) *::test_other*"])
    new = "\n\n    def test_new():\n        t = torch.ones(2)\n        t.numpy()[1] = 9\n"
    suite.makepyfile(test_suite=WRITES.replace("TIMES", "3") + new)
    result = run(suite, "--tensorwatch-baseline=known.json")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*new: known.json does not know it", "FAILED (tensorwatch) *::test_new*"])


def test_what_is_gone_is_named_where_all_tests_ran(suite: pytest.Pytester) -> None:
    run(suite, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    suite.makepyfile(test_suite=WRITES.replace("TIMES", "3").replace("t.numpy()", "t.numpy().copy()"))
    result = run(suite, "--tensorwatch-baseline=known.json")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["gone from known.json: write at *", "1 of known.json did not happen; *"])
    run(suite, "--tensorwatch-baseline=known.json", "-k", "clean").stdout.no_fnmatch_line("*gone from*")


def test_an_update_of_some_tests_keeps_the_rest(suite: pytest.Pytester) -> None:
    run(suite, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    before = rows(suite.path / "known.json")
    result = run(suite, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline", "-k", "clean")
    result.stdout.fnmatch_lines(["known.json holds 1 findings *, 1 of them kept from before: not all tests ran"])
    assert rows(suite.path / "known.json") == before


@pytest.mark.parametrize("part", ["test_second.py", "--ignore=test_suite.py"])
def test_an_update_of_some_files_keeps_the_rest(suite: pytest.Pytester, part: str) -> None:
    suite.makepyfile(test_second="import torch\n\n\ndef test_second():\n    t = torch.zeros(2)\n    t.numpy()[0] = 1\n")
    run(suite, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    assert len(rows(suite.path / "known.json")) == 2
    result = run(suite, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline", part)
    result.stdout.fnmatch_lines(["known.json holds 2 findings *, 1 of them kept from before: not all tests ran"])


def test_a_baseline_of_a_run_is_told_apart(suite: pytest.Pytester) -> None:
    text = '{"schema": "tensorwatch-guard-baseline/1", "per": "run", "findings": []}'
    (suite.path / "known.json").write_text(text)
    result = run(suite, "--tensorwatch-baseline=known.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the baseline *known.json was made by tensorwatch-guard run; *"])


def test_ini_paths_are_relative_to_the_ini_file(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.makeini("[pytest]\ntensorwatch_baseline = sub/known.json\ntensorwatch_report = sub/reports\n")
    (suite.path / "sub").mkdir()
    monkeypatch.chdir(suite.path / "sub")
    run(suite, "--tensorwatch-update-baseline", "..").assert_outcomes(passed=3)
    assert rows(suite.path / "sub" / "known.json")
    assert (suite.path / "sub" / "reports" / "all-tests.json").exists()


def test_reports_are_written_one_a_test_and_all_as_one(suite: pytest.Pytester) -> None:
    result = run(suite, "--tensorwatch-report=reports")
    result.stdout.fnmatch_lines(["reports of 3 tests in *reports, together in all-tests.json"])
    names = sorted(os.listdir(suite.path / "reports"))
    assert names[0] == "all-tests.json"
    assert [name.rpartition("-")[0] for name in names[1:]] == [
        "test-test_suite.py-test_clean", "test-test_suite.py-test_one", "test-test_suite.py-test_other",
    ]  # fmt: skip
    together = Report.load(suite.path / "reports" / "all-tests.json")
    assert sum(finding.count for finding in together.mutations) == 4


def test_reports_of_older_runs_are_left_alone(suite: pytest.Pytester) -> None:
    run(suite, "--tensorwatch-report=reports")
    before = len(os.listdir(suite.path / "reports"))
    run(suite, "--tensorwatch-report=reports", "-k", "one")
    assert len(os.listdir(suite.path / "reports")) == before
    together = Report.load(suite.path / "reports" / "all-tests.json")
    assert sum(finding.count for finding in together.mutations) == 1


def test_long_and_odd_names_of_tests_make_file_names(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch

        @pytest.mark.parametrize("name", ["a/b" * 60, "a/c" * 60, "../.."], ids=str)
        def test_names(name):
            torch.ones(1).item()
    """)
    run(pytester, "--tensorwatch-report=reports").assert_outcomes(passed=3)
    names = os.listdir(pytester.path / "reports")
    assert len(names) == 4
    assert all(len(name) < 120 for name in names)


def test_workers_of_xdist_are_merged(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    options = ("-n", "2", "--tensorwatch=error", "--tensorwatch-baseline=known.json", "--tensorwatch-report=reports")
    result = run_child(suite, *options, "--tensorwatch-update-baseline")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([
        "1 to mend, seen in 2 of 3 guarded tests",
        "*4x, in test_suite.py::test_* and 1 more test",
        "known.json holds 1 findings that pass from now on",
        "reports of 3 tests in *",
    ])
    assert [row["count"] for row in rows(suite.path / "known.json")] == [3]
    run(suite, "--tensorwatch=error", "--tensorwatch-baseline=known.json").assert_outcomes(passed=3)
    suite.makepyfile(test_suite=WRITES.replace("TIMES", "7"))
    result = run_child(suite, *options)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*more: 7 times, known.json lets 3 times pass"])


def test_github_gets_annotations_and_a_step_summary(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    result = run(suite, "--tensorwatch")
    assert [line for line in result.outlines if line.startswith("::warning ")]
    assert "TWG401" in (suite.path / "summary.md").read_text()


def test_it_can_be_switched_off_by_name(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not INSTALLED:  # an installation of its own, with the entry point only
        metadata = suite.path / "installed" / "tensorwatch_guard-0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorwatch-guard\nVersion: 0\n")
        point = "[pytest11]\ntensorwatch_guard = tensorwatch_guard.pytest_plugin\n"
        (metadata / "entry_points.txt").write_text(point)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([SOURCES, str(suite.path / "installed")]))
    there = suite.runpytest_subprocess(*PLAIN, "--tensorwatch=error", "-k", "one")
    there.assert_outcomes(failed=1, deselected=2)
    gone = suite.runpytest_subprocess(*PLAIN, "-p", "no:tensorwatch_guard", "--tensorwatch=error")
    gone.stderr.fnmatch_lines(["*unrecognized arguments: --tensorwatch=error"])


def test_nothing_is_imported_until_it_is_asked_for(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    pytester.makepyfile("""
        import sys

        def test_modules():
            ours = {name for name in sys.modules if name.startswith("tensorwatch_guard")}
            assert ours == {"tensorwatch_guard", "tensorwatch_guard.pytest_plugin"}
            assert "torch" not in sys.modules
            assert "numpy" not in sys.modules
    """)
    run_child(pytester).assert_outcomes(passed=1)


def test_other_plugins_are_unharmed(suite: pytest.Pytester) -> None:
    suite.makeconftest("""
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            item.config.seen = getattr(item.config, "seen", 0) + 1
            return (yield)

        def pytest_terminal_summary(terminalreporter, config):
            terminalreporter.write_line(f"conftest saw {config.seen} calls")
    """)
    result = run(suite, "--tensorwatch=error", "-p", "no:xdist", "--junitxml=out.xml", "-v", "--durations=1")
    result.stdout.fnmatch_lines(["*conftest saw 3 calls*"])
    result.assert_outcomes(passed=1, failed=2)
    assert "NumPy wrote into shared memory" in (suite.path / "out.xml").read_text()


def test_pytest_maxfail_and_last_failed_work_as_ever(suite: pytest.Pytester) -> None:
    run(suite, "--tensorwatch=error", "-x").assert_outcomes(failed=1)


def test_an_update_of_one_folder_keeps_the_rest(pytester: pytest.Pytester) -> None:
    for folder in ("one", "two"):
        (pytester.path / folder).mkdir()
        text = "import torch\n\n\ndef test_it():\n    t = torch.zeros(2)\n    t.numpy()[0] = 1\n"
        (pytester.path / folder / f"test_{folder}.py").write_text(text)
    run(pytester, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    assert len(rows(pytester.path / "known.json")) == 2
    result = run(pytester, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline", "one")
    result.stdout.fnmatch_lines(["known.json holds 2 findings *, 1 of them kept from before: not all tests ran"])


@pytest.mark.parametrize("stop", ["raise KeyboardInterrupt", "request.session.shouldstop = 'enough'"])
def test_an_update_that_is_interrupted_keeps_the_rest(suite: pytest.Pytester, stop: str) -> None:
    run(suite, "--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    suite.makepyfile(test_suite=f"import torch\n\n\ndef test_first(request):\n    torch.ones(1).item()\n    {stop}\n")
    options = ("--tensorwatch-baseline=known.json", "--tensorwatch-update-baseline")
    suite.runpytest_inprocess(*PLUGIN, *PLAIN, *options, no_reraise_ctrlc=True)
    assert len(rows(suite.path / "known.json")) == 1
