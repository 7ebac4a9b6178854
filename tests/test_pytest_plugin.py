"""The pytest plugin: the flag, the marker and the fixture, and what a failing test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugin_runs import run

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

SHARES = """
    import numpy as np
    import pytest
    import torch

    def augment(t):
        a = t.numpy()
        a[0] = 5
        return a

    def test_writes():
        t = torch.zeros(3)
        augment(t)
        torch.equal(t, t)

    def test_clean():
        assert torch.ones(2).sum().item() == 2
"""


def test_without_being_asked_it_does_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SHARES)
    result = run(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*tensorwatch*TWG*")


def test_the_flag_guards_every_test_and_ends_with_a_summary(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SHARES)
    result = run(pytester, "--tensorwatch")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([
        "*= tensorwatch_guard =*",
        "1 to mend, seen in 1 of 2 guarded tests",
        "warning *test_the_flag*.py:*NumPy wrote into shared memory*TWG401",
        "*1x, in test_the_flag*.py::test_writes",
    ])


def test_with_error_they_fail(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SHARES)
    result = run(pytester, "--tensorwatch=error", "-rf")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([
        "*T.*",
        "*NumPy wrote into shared memory (at ?0?): between *.py:6 and line 12*",
        '*level="error" in this guard*',
        "*do: copy where it is shared: t.numpy().copy()*",
        "FAILED (tensorwatch) *test_writes*",
    ])


def test_a_clean_run_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = run(pytester, "--tensorwatch=error")
    result.stdout.fnmatch_lines(["tensorwatch_guard: nothing to mend (1 tests guarded)"])


def test_a_marker_needs_no_flag(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch

        @pytest.mark.tensorwatch(alias="error")
        def test_marked():
            torch.zeros(2).numpy()

        def test_unmarked():
            torch.zeros(2).numpy()

        @pytest.mark.tensorwatch(read=2)
        def test_limit():
            for _ in range(2):
                torch.ones(1).item()

        @pytest.mark.tensorwatch("error", mutation="log")
        def test_level():
            t = torch.zeros(2)
            t.numpy()[0] = 1
    """)
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([
        "*torch.zeros(2).numpy()*",
        "E *GuardViolation: a tensor and the other side come to share memory: *:5 in test_marked*",
        'E *alias="error" in this guard*',
    ])


def test_markers_of_module_class_and_test_add_up(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch
        pytestmark = pytest.mark.tensorwatch(read=0)

        @pytest.mark.tensorwatch(alias="error")
        class TestShares:
            def test_inherits_both(self):
                with pytest.raises(AssertionError):
                    torch.ones(1).item()
                with pytest.raises(AssertionError):
                    torch.ones(1).numpy()

            @pytest.mark.tensorwatch(alias="log")
            def test_overrules_one(self):
                torch.ones(1).numpy()
                with pytest.raises(AssertionError):
                    torch.ones(1).item()

            @pytest.mark.tensorwatch("off", read="off", alias="off")
            def test_off(self):
                torch.ones(1).numpy()
                torch.ones(1).item()
    """)
    run(pytester).assert_outcomes(passed=3)


def test_a_marker_stands_above_the_flag(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch

        @pytest.mark.tensorwatch("log")
        def test_log():
            t = torch.zeros(2)
            t.numpy()[0] = 1

        @pytest.mark.tensorwatch("off")
        def test_off(tensorwatch):
            t = torch.zeros(2)
            t.numpy()[0] = 1
            with pytest.raises(RuntimeError, match="nothing is guarded"):
                tensorwatch.report
    """)
    run(pytester, "--tensorwatch=error").assert_outcomes(passed=2)


def test_only_passed_tests_are_turned_to_failed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch

        def writes():
            t = torch.zeros(2)
            t.numpy()[0] = 1

        def test_fails():
            writes()
            assert 1 == 2

        def test_skips():
            writes()
            pytest.skip("not here")

        @pytest.mark.xfail(raises=KeyError)
        def test_expected():
            writes()
            raise KeyError

        def test_exits():
            writes()
            pytest.xfail("known")
    """)
    result = run(pytester, "--tensorwatch=error")
    result.assert_outcomes(failed=1, skipped=1, xfailed=2)
    also = "*- tensorwatch_guard: also seen in this test -*"
    result.stdout.fnmatch_lines(["E *assert 1 == 2", also, "*NumPy wrote*"])
    result.stdout.no_fnmatch_line("*GuardViolation*")


def test_a_test_of_unittest_is_guarded_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import unittest, torch

        class Case(unittest.TestCase):
            def test_writes(self):
                t = torch.zeros(2)
                t.numpy()[0] = 1
    """)
    run(pytester, "--tensorwatch=error").assert_outcomes(failed=1)


def test_the_fixture_guards_a_part(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import numpy as np, pytest, torch

        def test_part(tensorwatch):
            torch.ones(1).item()
            with tensorwatch(read=0) as g:
                pass
            torch.ones(1).item()
            assert g.report.reads == ()

        def test_fails_in_it(tensorwatch):
            with tensorwatch(read=0):
                torch.ones(1).item()

        def test_asks(tensorwatch):
            with tensorwatch() as g:
                t = torch.zeros(3)
                a = t.numpy()
                assert g.report.aliases[0].op == "Tensor.numpy"
                g.assert_no_mutations()
                tensorwatch.assert_no_mutations()
                g.assert_none("hazard", "sync")
                with pytest.raises(ValueError, match="say what is not to happen"):
                    g.assert_none()
                a[1] = 2
                with pytest.raises(AssertionError, match="a = t.numpy()"):
                    g.assert_no_mutations()
                with pytest.raises(AssertionError, match="NumPy wrote"):
                    tensorwatch.assert_none("mutation")
            with pytest.raises(ValueError, match="kinds: read"):
                g.assert_none("mutations")
    """)
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*torch.ones(1).item()", "*read=0: none is let pass (stopped before it ran)"])


def test_the_fixture_tells_shared_from_copied(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import numpy as np, pytest, torch

        def test_shared(tensorwatch):
            with tensorwatch():
                t = torch.zeros(2, 3)
                a = t.numpy()
                with pytest.raises(AssertionError, match="shared since .* in test_shared"):
                    tensorwatch.assert_not_shared(t, a)
                with pytest.raises(AssertionError):
                    tensorwatch.assert_not_shared(t[1], a[:, 2])
                tensorwatch.assert_not_shared(t, a.copy())
                tensorwatch.assert_not_shared(t[0], a[1])
                tensorwatch.assert_not_shared(t[:, 0], a[:, 1])
                tensorwatch.assert_not_shared(t.to(torch.bfloat16), t)
                with pytest.raises(AssertionError, match="the tensor and the tensor"):
                    tensorwatch.assert_not_shared(t.view(-1), t)
            assert len(tensorwatch.report.aliases) == 1, "to ask is no sharing"

        def test_without_a_guard(tensorwatch):
            a = np.zeros(3)
            with pytest.raises(AssertionError, match="was not seen"):
                tensorwatch.assert_not_shared(torch.from_numpy(a), a)
            tensorwatch.assert_not_shared(torch.tensor(a), a)
            tensorwatch.assert_not_shared(torch.empty(0), np.empty(0))
            with pytest.raises(TypeError, match="not list"):
                tensorwatch.assert_not_shared([1], a)
    """)
    run(pytester).assert_outcomes(passed=2)


def test_the_fixture_asks_the_tests_own_guard(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch

        @pytest.mark.tensorwatch
        def test_own(tensorwatch):
            a = torch.zeros(3).numpy()
            assert len(tensorwatch.report.aliases) == 1
            tensorwatch.assert_no_mutations()
    """)
    run(pytester).assert_outcomes(passed=1)


def test_the_summary_shows_ten_and_counts_the_rest(pytester: pytest.Pytester) -> None:
    body = "\n".join(f"def test_{n}():\n    t = torch.zeros(9)\n    t.numpy()[{n % 9}] = 1 + {n}" for n in range(13))
    pytester.makepyfile("import torch\n" + body)
    result = run(pytester, "--tensorwatch")
    result.stdout.fnmatch_lines(["13 to mend, seen in 13 of 13 guarded tests", "... and 3 more (-v shows all)"])
    assert sum(line.startswith("warning ") for line in result.outlines) == 10
    result = run(pytester, "--tensorwatch", "-v")
    assert sum(line.startswith("warning ") for line in result.outlines) == 13


def test_one_finding_of_many_tests_is_one_entry(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch

        def writes():
            t = torch.zeros(2)
            t.numpy()[0] = 1
            torch.equal(t, t)

        @pytest.mark.parametrize("n", range(5))
        def test_many(n):
            writes()
    """)
    result = run(pytester, "--tensorwatch")
    result.stdout.fnmatch_lines(["1 to mend, seen in 5 of 5 guarded tests", "*5x, in *::test_many?0? and 4 more tests"])


def test_allowances_that_let_nothing_pass_in_any_test_are_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import torch
        from tensorwatch_guard import allow

        def work(share):
            with allow("alias", reason="used in one test"):
                a = torch.zeros(2).numpy() if share else None
            with allow("alias", reason="used in none"):
                torch.ones(1).item()

        def test_one():
            work(False)

        def test_other():
            work(True)
    """)
    result = run(pytester, "--tensorwatch")
    result.stdout.fnmatch_lines(['*:7: allow("alias") let nothing pass (used in none)  TWG801'])
    result.stdout.no_fnmatch_line("*used in one test*")


def test_everything_is_restored_at_the_end(pytester: pytest.Pytester) -> None:
    import torch

    before = vars(torch.Tensor).copy(), torch.from_numpy
    pytester.makepyfile(SHARES)
    run(pytester, "--tensorwatch=error")
    assert (vars(torch.Tensor).copy(), torch.from_numpy) == before


def test_the_kill_switch_holds(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORWATCH_GUARD_DISABLE", "1")
    pytester.makepyfile("""
        import pytest, torch

        @pytest.mark.tensorwatch(read=0)
        def test_marked(tensorwatch):
            torch.ones(1).item()
            with tensorwatch(read=0):
                torch.ones(1).item()
    """)
    run(pytester, "--tensorwatch=error").assert_outcomes(passed=1)


def test_a_simulated_device_may_come_and_go_between_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch
        from tensorwatch_guard import GuardViolation, simulated_accelerator

        @pytest.fixture
        def cuda():
            with simulated_accelerator("cuda"):
                yield

        @pytest.mark.parametrize("n", range(3))
        def test_waits(cuda, n):
            with pytest.raises(GuardViolation):
                torch.cuda.synchronize()
            with pytest.raises(GuardViolation):
                torch.ones(1, device="cuda").item()

        def test_between():
            assert torch.ones(1).item() == 1

        def test_inside():
            with simulated_accelerator("cuda"):
                one = torch.ones(1, device="cuda")
                with pytest.raises(GuardViolation):
                    one.item()
                with pytest.raises(GuardViolation):
                    one.cpu()
    """)
    result = run(pytester, "--tensorwatch=error", "-W", "ignore::UserWarning")
    result.assert_outcomes(passed=5)
    import torch

    assert not hasattr(torch.cuda.synchronize, "__wrapped__")
