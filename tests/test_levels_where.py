"""Where a violation is raised: on threads that entered the guard, once, never in place of the user's own exception."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from tensorwatch_guard import GuardViolation, guard, simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def read() -> float:
    return torch.ones(1).item()


def in_thread(work: Callable[[], object]) -> list[BaseException]:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="other")
    thread.start()
    thread.join()
    return raised


def test_another_thread_goes_on_and_the_exit_raises() -> None:
    with pytest.raises(GuardViolation) as caught, guard(read="error", report=False):
        assert in_thread(read) == []
    assert caught.value.findings[0].threads == ("other",)


def test_a_thread_that_entered_a_guard_of_its_own_is_raised_in() -> None:
    def work() -> None:
        with guard(read="error", report=False):
            read()

    assert [type(error) for error in in_thread(work)] == [GuardViolation]


def test_threads_that_share_a_decorated_function_are_each_raised_in() -> None:
    inside = threading.Barrier(2, timeout=20)

    @guard(read="error", report=False)
    def work() -> str:
        inside.wait()
        try:
            read()
        except GuardViolation:
            return "raised"
        finally:
            inside.wait()
        return "passed"

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: work(), range(2))) == ["raised", "raised"]


def test_backward_of_the_users_own_function_is_raised_in() -> None:
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
            grad.sum().item()
            return grad

    x = torch.ones(2, requires_grad=True)
    with guard(read="error", report=False):
        y = Reads.apply(x).sum()
        with pytest.raises(GuardViolation):
            y.backward()


def test_a_call_back_of_the_garbage_collector_raises_at_the_exit() -> None:
    t = torch.zeros(3)
    g = guard(mutation="error", report=False).start()
    a = t.numpy()
    a[0] = 1
    del a  # the look at its death is made by a weak reference's call-back
    gc.collect()
    with pytest.raises(GuardViolation):
        g.stop()


def test_the_users_own_exception_wins() -> None:
    with pytest.raises(KeyError), guard(mutation="error", read="error", report=False) as g:
        t = torch.zeros(3)
        a = t.numpy()
        a[0] = 1
        raise KeyError
    assert [finding.kind for finding in g.report.mutations] == ["mutation"]


def test_a_violation_that_was_caught_is_not_raised_again() -> None:
    with guard(read="error", report=False) as g, pytest.raises(GuardViolation):
        read()
    assert g.violation is not None


def test_an_inner_guard_does_not_silence_an_outer_one() -> None:
    with guard(read="error", report=False), guard(read="log", report=False), pytest.raises(GuardViolation):
        read()


def test_an_outer_guard_does_not_raise_for_an_inner_ones_level() -> None:
    with guard(report=False) as outer:
        with guard(read="error", report=False), pytest.raises(GuardViolation):
            read()
        read()
    assert outer.violation is None


def test_both_guards_object_to_one_call_once() -> None:
    strict = guard(read="error", report=False), guard(read="error", report=False)
    with strict[0] as outer, strict[1] as inner, pytest.raises(GuardViolation):
        read()
    assert outer.violation is not None
    assert inner.violation is not None


def test_a_paused_guard_says_nothing() -> None:
    with guard(read="error", report=False) as g:
        with g.paused():
            read()
        with pytest.raises(GuardViolation):
            read()


def test_a_pause_of_the_inner_guard_leaves_the_outer_one_awake() -> None:
    strict = guard(read="error", report=False), guard(read="error", report=False)
    with strict[0], strict[1] as inner, inner.paused(), pytest.raises(GuardViolation):
        read()


def test_stop_raises_what_was_left() -> None:
    g = guard(read="error", report=False).start()
    in_thread(read)
    with pytest.raises(GuardViolation):
        g.stop()
    assert len(g.report.reads) == 1


def test_a_guard_can_be_entered_again_after_a_violation() -> None:
    g = guard(read=1, report=False)
    for _ in range(2):
        with pytest.raises(GuardViolation), g:
            read()
            read()


def generator() -> Iterator[float]:
    yield 1.0
    yield read()


async def coroutine() -> float:
    await asyncio.sleep(0)
    return read()


def test_decorated_functions_generators_and_coroutines_are_raised_in() -> None:
    with pytest.raises(GuardViolation):
        guard(read="error", report=False)(read)()
    with pytest.raises(GuardViolation):
        list(guard(read="error", report=False)(generator)())
    with pytest.raises(GuardViolation):
        asyncio.run(guard(read="error", report=False)(coroutine)())


def test_a_violation_can_be_sent_home_by_a_process_pool() -> None:
    with guard(read="error", report=False), pytest.raises(GuardViolation) as caught:
        read()
    sent = pickle.loads(pickle.dumps(caught.value))
    assert str(sent) == str(caught.value)
    assert (sent.findings, sent.reasons, sent.report) == (caught.value.findings, caught.value.reasons, None)
    assert isinstance(sent, AssertionError)


def test_nothing_is_raised_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_accelerator("cuda"):
        one = torch.ones(1, device="cuda")
        with pytest.raises(GuardViolation), guard(sync="error", report=False) as g:
            monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
            assert one.item() == 1
            monkeypatch.undo()
            with pytest.raises(GuardViolation):
                one.item()
    assert g.report.syncs[0].count == 1


def test_a_bug_of_ours_in_speaking_never_reaches_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("tensorwatch_guard.policy.heed.violation_text", broken)
    with guard(read="error", refusal="error", report=False) as g:
        assert read() == 1
        assert in_thread(read) == []
    assert [one.rule for one in g.report.notices] == ["TWG901", "TWG805"]
    assert "ZeroDivisionError" in g.report.notices[0].text


def test_nothing_of_ours_is_chained_to_it() -> None:
    with guard(read="error", report=False), pytest.raises(GuardViolation) as caught:
        read()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_after_a_violation_the_next_call_is_seen_as_ever() -> None:
    with guard(read="error", report=False) as g:
        for _ in range(3):
            with pytest.raises(GuardViolation):
                read()
        torch.zeros(2).numpy()
    assert g.report.reads[0].count == 3
    assert len(g.report.aliases) == 1


def test_a_line_that_copies_both_ways_is_counted_and_limited_each_way() -> None:
    def move(tensor: torch.Tensor, device: str) -> torch.Tensor:
        return tensor.to(device)

    with simulated_accelerator("cuda"):
        with guard(report=False) as g:
            for _ in range(3):
                move(move(torch.ones(4), "cuda"), "cpu")
            move(torch.ones(4), "cuda")
        (found,) = g.report.transfers
        assert (found.count, found.details["direction"], found.directions) == (7, "h2d", {"h2d": 4, "d2h": 3})
        assert (g.report.totals["h2d"], g.report.totals["d2h"]) == (4, 3)
        with guard(report=False, h2d="off") as g:
            move(move(torch.ones(4), "cuda"), "cpu")
        assert [one.directions for one in g.report.transfers] == [{"d2h": 1}]
        with pytest.raises(GuardViolation, match=r"copied from cuda:0 \(simulated\) to cpu"), guard(report=False, d2h=0):
            move(move(torch.ones(4), "cuda"), "cpu")
