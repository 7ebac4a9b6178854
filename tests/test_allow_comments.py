"""Allowances as comments, allowances that let nothing pass, and comments that name no kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tensorwatch_guard import GuardViolation, allow, guard

if TYPE_CHECKING:
    from pathlib import Path

    from tensorwatch_guard import Report


def notices(report: Report) -> list[tuple[str, str, int]]:
    return [(one.rule, one.text, one.site.line if one.site else 0) for one in report.notices]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs a function ``work`` of a file with this body under a guard, and gives the guard."""

    def runs(body: str, *, calls: int = 1, **options: Any) -> guard:
        file = tmp_path / "train.py"
        file.write_text("import torch\none = torch.ones(1)\ndef work():\n" + body)
        names: dict[str, Any] = {}
        exec(compile(file.read_text(), str(file), "exec"), names)
        with guard(report=False, **options) as g:
            for _ in range(calls):
                names["work"]()
        return g

    return runs


def test_a_comment_on_the_line_lets_it_pass(run: Any) -> None:
    g = run("    one.item()  # tensorwatch: allow[read] epoch metric\n", read="error", calls=3)
    assert [(f.allowed, f.count) for f in g.report.reads] == [("epoch metric", 3)]
    assert notices(g.report) == []


def test_without_the_comment_the_same_is_raised(run: Any) -> None:
    with pytest.raises(GuardViolation):
        run("    one.item()\n", read="error")


@pytest.mark.parametrize(
    "comment",
    ["# tensorwatch: allow[sync, alias] why", "#tensorwatch:allow[read]", "# noqa: X # tensorwatch: allow[read] - why"],
)
def test_spellings_and_several_kinds(comment: str, run: Any) -> None:
    g = run(f"    one.item()  {comment}\n", read="error")
    assert g.report.reads[0].allowed in ("why", "")


def test_any_line_of_the_expression_will_do(run: Any) -> None:
    body = "    torch.equal(\n        one,\n        one + 0,  # tensorwatch: allow[read] both\n    )\n"
    assert run(body, read="error").report.reads[0].allowed == "both"


def test_a_comment_for_another_kind_does_not_help(run: Any) -> None:
    with pytest.raises(GuardViolation):
        run("    one.item()  # tensorwatch: allow[transfer] why\n", read="error")


def test_a_text_that_looks_like_a_comment_is_none(run: Any) -> None:
    with pytest.raises(GuardViolation):
        run("    one.item(); '# tensorwatch: allow[read] why'\n", read="error")


def test_a_write_found_as_an_interval_is_allowed_where_it_was_seen(run: Any) -> None:
    body = """
    a = one.numpy()
    a[0] += 1
    (torch.ones(1, requires_grad=True) * 2).backward()  # tensorwatch: allow[mutation] our own buffer
    a = None
"""
    g = run(body, mutation="error", writes="check")
    assert [f.allowed for f in g.report.mutations] == ["our own buffer"]


def test_a_comment_that_let_nothing_pass_is_told(run: Any) -> None:
    g = run("    one.item()\n    torch.ones(2).numpy().copy()\n    x = 1  # tensorwatch: allow[alias] old\n")
    assert notices(g.report) == [("TWG801", "allow[alias] let nothing pass (old)", 6)]


def test_a_comment_about_devices_is_not_judged_where_there_was_none(run: Any) -> None:
    g = run("    one.item()\n    x = 1  # tensorwatch: allow[d2h] on the GPU only\n")
    assert notices(g.report) == []


def test_a_comment_in_a_function_that_did_not_run_is_not_judged(run: Any) -> None:
    g = run("    one.item()\n\ndef other():\n    x = 1  # tensorwatch: allow[alias] elsewhere\n")
    assert notices(g.report) == []


def test_a_comment_that_names_no_kind_allows_nothing_and_is_told(run: Any) -> None:
    g = run("    one.item()  # tensorwatch: allow[raed] typo\n    one.item()  # tensorwatch: allow everything\n")
    told = notices(g.report)
    assert [(rule, line) for rule, _, line in told] == [("TWG803", 4), ("TWG803", 5)]
    assert "'raed' (did you mean \"read\"?)" in told[0][1]
    assert not g.report.clean
    with pytest.raises(GuardViolation):
        run("    one.item()  # tensorwatch: allow[raed] typo\n", read="error")


def test_a_block_that_let_nothing_pass_is_told() -> None:
    one = torch.ones(1)
    with guard(report=False) as g:
        with allow("alias", reason="once needed"):
            one.item()
        with allow("read", reason="needed"):
            one.item()
    told = notices(g.report)
    assert [(rule, text) for rule, text, _ in told] == [("TWG801", 'allow("alias") let nothing pass (once needed)')]
    assert told[0][2] == test_a_block_that_let_nothing_pass_is_told.__code__.co_firstlineno + 3


def test_a_block_that_was_not_entered_is_not_judged() -> None:
    with guard(report=False) as g:
        if g.report.reads:
            with allow("alias"):
                pass
    assert notices(g.report) == []


def test_a_run_that_ended_early_judges_nothing() -> None:
    with pytest.raises(KeyError), guard(report=False) as g, allow("alias", reason="not reached"):
        raise KeyError
    assert notices(g.report) == []


def test_a_file_that_changed_is_read_again(run: Any) -> None:
    with pytest.raises(GuardViolation):
        run("    one.item()  # first of two\n", read="error")
    g = run("    one.item()  # tensorwatch: allow[read] now with a reason\n", read="error")
    assert g.report.reads[0].allowed == "now with a reason"


LATER = """    array = np.ones(3)
    kept = torch.from_numpy(array)
    for turn in range({turns}):
        kept.sum().item()
        array += 1{here}
    kept.sum().item(){there}
    array += 0
    kept.sum().item()
"""
MEANT = "  # tensorwatch: allow[mutation] it is to follow"


@pytest.mark.parametrize("writes", ["check", "auto", "exact"])
@pytest.mark.parametrize("turns", [1, 30])
def test_a_line_that_may_write_is_let_pass_also_where_only_an_interval_is_known(run: Any, writes: str, turns: int) -> None:
    given = "    import numpy as np\n"
    g = run(given + LATER.format(turns=turns, here=MEANT, there=""), mutation="error", writes=writes)
    assert g.report.mutations
    assert {found.allowed for found in g.report.mutations} == {"it is to follow"}
    with pytest.raises(GuardViolation):
        run(given + LATER.format(turns=turns, here="", there=""), mutation="error", writes=writes)


def test_a_comment_outside_of_an_interval_lets_nothing_pass_in_it(run: Any) -> None:
    body = "    import numpy as np\n    array = np.ones(3)\n    kept = torch.from_numpy(array)\n    kept.sum().item()\n"
    body += f"    array += 1\n    kept.sum().item()\n    later = 1{MEANT}\n"
    with pytest.raises(GuardViolation):
        run(body, mutation="error", writes="check")
