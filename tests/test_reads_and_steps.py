"""Reads are counted by place and thread; steps are those of the optimizer that steps most often, or by hand."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from typing import Any

import pytest
import torch

from tensorwatch_guard import guard


@pytest.fixture
def one() -> torch.Tensor:
    return torch.ones(1)


class Training:
    """A parameter with optimizers that step."""

    def __init__(self) -> None:
        self.w = torch.ones(1, requires_grad=True)
        self.w.grad = torch.ones(1)
        self.often = torch.optim.SGD([self.w], lr=0.1)
        self.seldom = torch.optim.SGD([self.w], lr=0.1)


@pytest.fixture
def training() -> Training:
    return Training()


def test_reads_of_a_loop_are_one_finding(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        for _ in range(100_000):
            one.item()
    (found,) = g.report.findings
    assert (found.kind, found.op, found.count, found.bytes) == ("read", "Tensor.item", 100_000, 400_000)
    assert g.report.totals["read"] == 100_000


def test_memory_grows_with_places_not_with_reads(one: torch.Tensor) -> None:
    def reads(times: int) -> None:
        for _ in range(times):
            one.item()
            float(one)

    with guard(report=False) as g:
        reads(2000)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        reads(5000)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 2000
    assert [found.count for found in g.report.reads] == [7000, 7000]


def test_reads_are_told_apart_by_operation_and_place(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        for _ in range(3):
            one.item(), one.item()
        float(one)
    assert [(found.op, found.count) for found in g.report.reads] == [
        ("Tensor.item", 3), ("Tensor.item", 3), ("Tensor.__float__", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.bool, torch.complex64])
def test_bytes_are_those_of_the_element_that_was_read(dtype: torch.dtype) -> None:
    one = torch.ones(1, dtype=dtype)
    with guard(report=False) as g:
        for _ in range(2):
            one.item()
        one.tolist()
    assert [found.bytes for found in g.report.reads] == [2 * dtype.itemsize, dtype.itemsize]


def test_implicit_is_what_nobody_wrote_out(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        one.item()
        one.tolist()
        bool(one)
        f"{one}"
    assert [found.implicit for found in g.report.reads] == [False, False, True, True]


def test_threads_are_named_and_added_up(one: torch.Tensor) -> None:
    def work() -> None:
        for _ in range(500):
            one.item()

    threads = [threading.Thread(target=work, name=f"reader {number}") for number in range(4)]
    with guard(report=False) as g:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (found,) = g.report.findings
    assert (found.count, sorted(found.threads)) == (2000, [f"reader {number}" for number in range(4)])


def test_a_thread_that_outlives_the_guard_is_not_heard_any_more(one: torch.Tensor) -> None:
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        one.item()
        done.set()
        go.wait(20)
        one.item()

    thread = threading.Thread(target=work)
    with guard(report=False) as g:
        thread.start()
        done.wait(20)
    with guard(report=False) as later:
        go.set()
        thread.join()
    assert [found.count for found in g.report.reads] == [1]
    assert [found.count for found in later.report.reads] == [1]


# -- steps ---------------------------------------------------------------------------------------------------------------


def test_without_an_optimizer_there_are_no_steps(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        one.item()
    assert g.report.run.steps == 0
    assert (g.report.reads[0].per_step, g.report.reads[0].first_step, g.report.reads[0].last_step) == (0, 0, 0)


def test_the_optimizer_that_steps_most_often_counts(training: Training) -> None:
    with guard(report=False) as g:
        for number in range(12):
            training.often.step()
            if number % 3 == 0:
                training.seldom.step()
    assert g.report.run.steps == 12


def test_steps_of_an_optimizer_that_is_gone_stay_counted(one: torch.Tensor) -> None:
    """Folds, rounds and trials make an optimizer each."""
    with guard(report=False) as g:
        for _ in range(3):
            training = Training()
            for _ in range(4):
                training.often.step()
                training.often.step()
                training.seldom.step()
                one.item()
            del training
    assert g.report.run.steps == 24
    (found,) = g.report.reads
    assert (found.count, found.first_step, found.last_step) == (12, 2, 24)


def test_steps_by_hand_count_instead(training: Training) -> None:
    with guard(report=False) as g:
        for _ in range(3):
            training.often.step()
            training.often.step()
            g.step()
    assert g.report.run.steps == 3


def test_rates_are_per_step(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        for number in range(8):
            one.item(), one.item()
            if number % 4 == 0:
                float(one)
            g.step()
    assert [found.per_step for found in g.report.reads] == [1.0, 1.0, 0.25]


def test_first_and_last_step_are_counted_from_the_guards_entry(one: torch.Tensor, training: Training) -> None:
    def read(g: Any) -> Any:
        for number in range(6):
            if 2 <= number <= 4:
                one.item()
            training.often.step()
        return g

    with guard(report=False) as outer:
        training.often.step()
        with guard(report=False) as inner:
            read(inner)
    (found,) = inner.report.reads
    assert (found.first_step, found.last_step, inner.report.run.steps) == (2, 4, 6)
    (found,) = outer.report.reads
    assert (found.first_step, found.last_step, outer.report.run.steps) == (3, 5, 7)
    with guard(report=False) as later:
        read(later)
    (found,) = later.report.reads
    assert (found.first_step, found.last_step, later.report.run.steps) == (2, 4, 6)


def test_steps_by_hand_in_an_inner_guard_take_none_away(one: torch.Tensor, training: Training) -> None:
    with guard(report=False) as outer:
        for _ in range(3):
            training.often.step()
        with guard(report=False) as inner:
            one.item()
            inner.step()
            one.item()
    assert (inner.report.run.steps, outer.report.run.steps) == (1, 4)
    assert [(found.first_step, found.last_step, found.per_step) for found in inner.report.reads] == [(0, 0, 1), (1, 1, 1)]


def test_steps_of_a_decorated_function_go_on(one: torch.Tensor, training: Training) -> None:
    @guard(report=False)
    def step() -> None:
        one.item()
        training.often.step()

    for _ in range(3):
        step()
    training.often.step()
    step()
    assert step.guard.report.run.steps == 4
    (found,) = step.guard.report.reads
    assert (found.count, found.per_step, found.first_step, found.last_step) == (4, 1.0, 0, 3)


def test_a_read_inside_optimizers_is_the_librarys(training: Training) -> None:
    w = torch.ones(1, requires_grad=True)
    w.grad = torch.ones(1)
    adam = torch.optim.Adam([w])
    with guard(report=False) as g:
        for _ in range(3):
            adam.step()
    assert g.report.run.steps == 3
    assert all(found.site is not None and found.site.source == "adam.step()" for found in g.report.findings)
    assert g.report.worst in (None, "note")


def test_reads_after_a_closure_that_calls_backward_are_the_steps_own() -> None:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    adam = torch.optim.Adam(weights, foreach=False)

    def closure() -> torch.Tensor:
        adam.zero_grad()
        loss = torch.stack([weight.square().sum() for weight in weights]).sum()
        loss.backward()
        return loss

    with guard(report=False) as g:
        for _ in range(4):
            adam.step(closure)  # type: ignore[arg-type]
    (found,) = g.report.findings
    assert (found.kind, found.count) == ("read", 12)
    assert found.site is not None
    assert found.site.source == "adam.step(closure)"


def test_an_optimizers_reads_are_counted_and_its_code_is_its_own_again() -> None:
    reader = sys.modules["torch.optim.optimizer"]._get_value  # type: ignore[attr-defined]
    before, parameter = reader.__code__, torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter, torch.nn.Parameter(torch.ones(2))])
    with guard(report=False) as g:
        for _ in range(4):
            parameter.grad = torch.ones(3)
            optimizer.step()
        assert reader(torch.tensor(2.0)) == 2.0  # by somebody else: the read that everybody's is
    assert reader.__code__ is before
    assert {name for name in vars(torch.Tensor) if "tensorwatch" in name} == set()
    assert sorted(finding.count for finding in g.report.findings) == [1, 4]


def test_a_step_count_of_a_class_of_the_users_is_read_his_way() -> None:
    class Count(torch.Tensor):
        def item(self) -> float:
            return 5.0

    reader = sys.modules["torch.optim.optimizer"]._get_value  # type: ignore[attr-defined]
    with guard(report=False):
        assert reader(torch.ones(1).as_subclass(Count)) == 5.0


def test_steps_are_counted_past_the_most_places_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorwatch_guard.collector.MOST_SITES", 2)
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])
    one = torch.ones(1)
    with guard(report=False) as g:
        one.item()
        one.tolist()
        kept = one.numpy()
        for _ in range(5):
            parameter.sum().backward()
            optimizer.step()
    assert kept.shape == (1,)
    assert g.report.run.steps == 5
    assert [notice.rule for notice in g.report.notices] == ["TWG902"]
