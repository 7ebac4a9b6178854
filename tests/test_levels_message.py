"""What a violation says: what, where with its source, which level, why, what to do, how to allow it."""

from __future__ import annotations

import contextlib
import os

import pytest
import torch

from tensorwatch_guard import GuardViolation, guard


def raised(**options: object) -> GuardViolation:
    with pytest.raises(GuardViolation) as caught, guard(report=False, **options):
        x = torch.ones(3)
        value = x.sum().item()
        x.numpy()[0] = value
    return caught.value


def test_one_finding_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(os.path.dirname(__file__))
    error = raised(read="error")
    lines = str(error).splitlines()
    line = error.findings[0].site.line  # type: ignore[union-attr]
    assert lines[0] == f"the host reads a CPU tensor: test_levels_message.py:{line} in raised (Tensor.item)  TWG231"
    assert lines[1].strip() == "value = x.sum().item()"
    assert lines[2].strip() == "^" * len("x.sum().item()")
    assert lines[2].index("^") == lines[1].index("x.sum")
    assert lines[3] == '  read="error" in this guard (stopped before it ran)'
    assert [one.split(":")[0].strip() for one in lines[4:6]] == ["why", "do"]
    assert lines[6].startswith('  to allow it: "# tensorwatch: allow[')


def test_a_write_names_both_ends_and_where_sharing_began() -> None:
    with pytest.raises(GuardViolation) as caught, guard(mutation="error", report=False):
        x = torch.ones(3)
        a = x.numpy()
        a[0] = 7
        (torch.ones(1, requires_grad=True) * 2).backward()
    mutation = caught.value.findings[0]
    first, last = (end["line"] for end in mutation.details["between"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("NumPy wrote into shared memory (at [0]): between ")
    assert f":{first} and " in lines[0]
    assert last == first + 2
    assert lines[1:5] == [
        '  writes="exact" names the line',
        lines[2],
        "      a = x.numpy()",
        "          ^^^^^^^^^",
    ]
    assert lines[2].startswith("  shared since ")


def test_several_findings_are_listed_and_counted() -> None:
    with pytest.raises(GuardViolation) as caught, guard(refusal="error", report=False):
        for n in range(14):
            with contextlib.suppress(RuntimeError):
                _refuse(n)
    assert len(caught.value.findings) == 14
    text = str(caught.value)
    assert text.startswith("14 findings break what was asked of this guard:")
    assert "... and 4 more" in text
    assert len(text.splitlines()) < 60


def _refuse(n: int) -> None:
    """PyTorch refuses at a place of its own for each ``n``."""
    exec(compile("torch.ones(3).item()", f"<refuse {n}>", "exec"), {"torch": torch})


def test_the_reason_names_what_the_user_wrote() -> None:
    assert 'level="error"' in str(raised(level="error", writes="check"))
    assert "mutation=0: none is let pass" in str(raised(mutation=0))
    assert raised(read="error").reasons == ('read="error" in this guard (stopped before it ran)',)


def test_the_report_is_not_printed_beside_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GuardViolation), guard(mutation="error"):
        x = torch.ones(3)
        x.numpy()[0] = 2
    assert capsys.readouterr().err == ""


def test_a_broken_limit_that_was_caught_stands_in_the_report_and_its_headline() -> None:
    x = torch.ones(2)
    with guard(report=False, read=0) as g, contextlib.suppress(GuardViolation):
        x.sum().item()
    notices = [(notice.rule, notice.text) for notice in g.report.notices]
    assert notices == [("TWG805", "Tensor.item: read=0: none is let pass (stopped before it ran)")]
    assert str(g.report).startswith("tensorwatch-guard: 1 level or limit broken")
    assert not g.report.clean


def test_where_writes_were_not_looked_for_none_is_said_to_be_missing() -> None:
    with guard(report=False, writes="off") as g:
        seen = torch.ones(2).numpy()
        seen += 1
    assert "writes were not looked for" in str(g.report)
    assert "none written" not in str(g.report)
