"""Limits: at most so many in the run, in a step, at a place; copies that block are waits; ``after=`` is for warm-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tensorwatch_guard import ConfigError, GuardViolation, guard, limit
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


def reads(times: int) -> int:
    """How many of so many reads at one place went through."""
    one = torch.ones(1)
    for done in range(times):
        try:
            one.item()
        except GuardViolation:
            return done
    return times


@pytest.mark.parametrize("most", [0, 1, 3])
def test_so_many_in_the_run(most: int) -> None:
    with guard(read=most, report=False):
        assert reads(5) == most


@pytest.mark.parametrize("written", ["2", " 2 / run", limit(2)], ids=["2", "2/run", "limit"])
def test_one_grammar_in_all_spellings(written: object) -> None:
    with guard(read=written, report=False):
        assert reads(5) == 2


def test_so_many_in_each_step() -> None:
    with guard(read=limit(2, per="step"), report=False) as g:
        for _ in range(3):
            assert reads(2) == 2
            g.step()
        assert reads(3) == 2


def test_steps_are_those_of_the_optimizer() -> None:
    w = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    with guard(read=limit(1, per="step"), report=False) as g:
        for _ in range(3):
            (w * 2).sum().backward()
            optimizer.step()
            assert reads(1) == 1
    assert g.violation is None


def test_so_many_at_each_place() -> None:
    one = torch.ones(1)
    with guard(read=limit(2, per="site"), report=False):
        one.item()
        one.item()
        one.item()
        assert reads(4) == 2


def test_a_place_stays_one_when_python_specialises_the_call() -> None:
    one, passed = torch.ones(1), 0
    with guard(read=limit(20, per="site"), report=False):
        for _ in range(60):
            try:
                float(one)
            except GuardViolation:
                continue
            passed += 1
    assert passed == 20


def test_a_limit_that_is_not_passed_raises_nothing() -> None:
    with guard(read=3, report=False) as g:
        assert reads(3) == 3
    assert g.violation is None
    assert g.report.reads[0].count == 3


def test_what_a_limit_stops_did_not_happen() -> None:
    x = torch.ones(1, device="cuda")
    with guard(sync=1, report=False) as g:
        x.item()
        with pytest.raises(GuardViolation, match=r"sync=1: this is number 2 in this run \(stopped before it ran\)"):
            x.item()
    assert g.report.syncs[0].count == 1 or g.report.totals["sync"] == 2


def test_the_message_names_step_and_number() -> None:
    with guard(read=limit(1, per="step"), report=False) as g:
        g.step()
        g.step()
        torch.ones(1).item()
        with pytest.raises(GuardViolation, match=r"read=limit\(1, per='step'\): this is number 2 in step 2"):
            torch.ones(1).item()


def test_a_copy_that_blocks_is_a_wait() -> None:
    host = torch.ones(2)
    with guard(sync=1, report=False):
        host.cuda()
        with pytest.raises(GuardViolation, match="a copy that blocks is a wait, too"):
            host.cuda()


def test_a_copy_in_the_background_is_no_wait() -> None:
    pinned = torch.ones(2).pin_memory()
    with guard(sync=0, report=False) as g:
        pinned.to("cuda", non_blocking=True)
    assert g.violation is None


def test_copies_with_a_setting_of_their_own_are_no_waits() -> None:
    host = torch.ones(2)
    with guard(sync=0, h2d=2, report=False):
        host.cuda()
        host.cuda()
        with pytest.raises(GuardViolation, match="h2d=2: this is number 3"):
            host.cuda()


def test_directions_without_a_setting_share_that_of_transfer() -> None:
    host, there = torch.ones(2), torch.ones(2, device="cuda")
    with guard(transfer=2, report=False):
        host.cuda()
        there.cpu()
        with pytest.raises(GuardViolation, match="transfer=2: this is number 3"):
            host.cuda()


def test_a_limit_on_aliases_is_raised_after_the_one_too_many() -> None:
    tensors = [torch.zeros(2) for _ in range(4)]
    kept = []
    with guard(alias=2, report=False), pytest.raises(GuardViolation):
        for tensor in tensors:
            kept.append(tensor.numpy())  # noqa: PERF401
    assert len(kept) == 2


def test_warm_up_is_left_out() -> None:
    with guard(read=0, after=2, report=False) as g:
        assert reads(5) == 5
        g.step()
        assert reads(5) == 5
        g.step()
        assert reads(5) == 0


def test_warm_up_is_counted_from_the_guards_own_entry() -> None:
    with guard(report=False) as outer:
        for _ in range(5):
            outer.step()
        with guard(read=0, after=1, report=False) as g:
            assert reads(1) == 1
            g.step()
            assert reads(1) == 0


def test_warm_up_uses_nothing_of_a_limit_up() -> None:
    with guard(read=2, after=1, report=False) as g:
        assert reads(9) == 9
        g.step()
        assert reads(9) == 2


def test_a_limit_in_another_thread_is_raised_at_the_exit() -> None:
    import threading

    with pytest.raises(GuardViolation, match="this is number 3"), guard(read=2, report=False):
        thread = threading.Thread(target=lambda: [torch.ones(1).item() for _ in range(3)])
        thread.start()
        thread.join()


@pytest.mark.parametrize("bad", [-1, 1.5, True, "2/epoch", "two"])
def test_a_limit_that_cannot_be_meant_is_refused_before_anything_is_watched(bad: object) -> None:
    with pytest.raises(ConfigError, match="sync"):
        guard(sync=bad)
