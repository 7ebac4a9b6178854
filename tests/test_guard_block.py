"""The block, the decorator, ``start`` and ``stop``: when a guard listens, what its report holds, and who may misuse it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.running import RUNNING


@pytest.fixture
def one() -> torch.Tensor:
    return torch.ones(1)


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    assert not RUNNING.heard
    assert not RUNNING.in_place


def reads(g: Any) -> int:
    return sum(found.count for found in g.report.reads)


# -- the block -----------------------------------------------------------------------------------------------------------


def test_only_what_happens_inside_is_heard(one: torch.Tensor) -> None:
    one.item()
    with guard(report=False) as g:
        one.item()
        float(one)
    one.item()
    assert [(found.op, found.count) for found in g.report.findings] == [("Tensor.item", 1), ("Tensor.__float__", 1)]


def test_start_and_stop_are_the_block_in_two_calls(one: torch.Tensor) -> None:
    g = guard(report=False)
    assert g.start() is g
    one.item()
    assert g.is_open
    report = g.stop()
    assert not g.is_open
    assert report is g.report
    assert reads(g) == 1


def test_entered_again_it_begins_a_new_report(one: torch.Tensor) -> None:
    g = guard(report=False)
    with g:
        one.item()
        one.item()
    first = g.report
    with g:
        one.item()
    assert reads(g) == 1
    assert sum(found.count for found in first.reads) == 2


def test_each_of_nested_guards_hears_what_happens_in_its_own_block(one: torch.Tensor) -> None:
    with guard(report=False) as outer:
        one.item()
        with guard(report=False) as inner:
            one.item()
        one.item()
    assert (reads(outer), reads(inner)) == (3, 1)
    assert outer.is_outermost
    assert not inner.is_outermost


def test_a_line_that_only_the_outer_guard_knows_counts_once_a_read(one: torch.Tensor) -> None:
    with guard(report=False) as outer:
        for times in (1, 2, 2):
            with guard(report=False) as inner:
                float(one)
                for _ in range(times):
                    one.item()
            assert reads(inner) == 1 + times
    assert reads(outer) == 8


def test_guards_may_be_left_in_any_order(one: torch.Tensor) -> None:
    first, second = guard(report=False), guard(report=False)
    first.start()
    second.start()
    one.item()
    first.stop()
    one.item()
    second.stop()
    one.item()
    assert (reads(first), reads(second)) == (1, 2)


def test_guards_open_in_several_threads_hear_every_thread(one: torch.Tensor) -> None:
    both_open, both_read = threading.Barrier(2), threading.Barrier(2)
    guards: list[Any] = []

    def work() -> None:
        with guard(report=False) as g:
            guards.append(g)
            both_open.wait(20)
            one.item()
            both_read.wait(20)

    threads = [threading.Thread(target=work, name=f"worker {number}") for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for g in guards:
        (found,) = g.report.reads
        assert (found.count, sorted(found.threads)) == (2, ["worker 0", "worker 1"])


def test_a_report_under_way_is_a_snapshot(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        for _ in range(2):
            one.item()
            early = g.report
        assert [found.count for found in early.reads] == [2]
        one.item()
        assert [found.count for found in early.reads] == [2]
        assert reads(g) == 3
    assert reads(g) == 3


# -- exceptions ----------------------------------------------------------------------------------------------------------


def test_the_bodys_exception_passes_as_it_is_and_the_report_says_aborted(one: torch.Tensor) -> None:
    thrown = KeyError("mine")
    with pytest.raises(KeyError) as caught, guard(report=False) as g:
        one.item()
        raise thrown
    assert caught.value is thrown
    assert caught.value.__context__ is None
    assert g.report.run.aborted
    assert reads(g) == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_exceptions_that_end_a_program_pass_too(kind: type[BaseException], one: torch.Tensor) -> None:
    with pytest.raises(kind), guard(report=False) as g:
        one.item()
        raise kind
    assert g.report.run.aborted


def test_a_block_that_ends_well_was_not_aborted(one: torch.Tensor) -> None:
    with guard(report=False) as g, pytest.raises(KeyError):
        raise KeyError
    assert not g.report.run.aborted


# -- the decorator -------------------------------------------------------------------------------------------------------


def test_without_brackets(one: torch.Tensor) -> None:
    @guard
    def step(times: int, *, more: int = 0) -> int:
        """What it does."""
        for _ in range(times):
            one.item()
        return times + more

    assert step(2, more=3) == 5
    assert (step.__name__, step.__doc__) == ("step", "What it does.")
    assert reads(step.guard) == 2  # type: ignore[attr-defined]


def test_one_report_for_all_calls_at_the_same_line(one: torch.Tensor) -> None:
    g = guard(report=False)

    @g
    def step() -> None:
        one.item()

    step()
    step()
    one.item()
    step()
    (found,) = g.report.reads
    assert found.count == 3


def test_calls_of_several_threads_are_one_report(one: torch.Tensor) -> None:
    inside = threading.Barrier(3)

    @guard(report=False)
    def step() -> None:
        inside.wait(20)
        one.item()

    threads = [threading.Thread(target=step) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads(step.guard) == 3


def test_a_function_that_calls_itself_is_heard_once(one: torch.Tensor) -> None:
    @guard(report=False)
    def down(depth: int) -> None:
        one.item()
        if depth:
            down(depth - 1)

    down(3)
    assert reads(down.guard) == 4


def test_a_function_of_a_guard_that_is_open_is_heard_once(one: torch.Tensor) -> None:
    g = guard(report=False)

    @g
    def step() -> None:
        one.item()

    with g:
        step()
        one.item()
        step()
        assert g.is_open
        one.item()
    assert reads(g) == 4


def test_an_exception_of_a_decorated_function_passes(one: torch.Tensor) -> None:
    @guard(report=False)
    def fails() -> None:
        one.item()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fails()
    assert fails.guard.report.run.aborted
    assert reads(fails.guard) == 1


def test_a_coroutine_function_is_heard_while_it_runs(one: torch.Tensor) -> None:
    @guard(report=False)
    async def fetch() -> float:
        one.item()
        await asyncio.sleep(0)
        return one.item()

    assert inspect.iscoroutinefunction(fetch)
    coroutine = fetch()
    one.item()
    assert asyncio.run(_awaited(coroutine)) == 1.0
    assert reads(fetch.guard) == 2


async def _awaited(coroutine: Any) -> Any:
    return await coroutine


def test_coroutines_at_once_are_one_report(one: torch.Tensor) -> None:
    @guard(report=False)
    async def fetch() -> None:
        await asyncio.sleep(0)
        one.item()

    async def main() -> None:
        await asyncio.gather(*(fetch() for _ in range(5)))

    asyncio.run(main())
    (found,) = fetch.guard.report.reads
    assert found.count == 5


def test_a_generator_function_keeps_its_protocol(one: torch.Tensor) -> None:
    told: list[Any] = []

    @guard(report=False)
    def batches() -> Iterator[Any]:
        try:
            told.append((yield one.item()))
            try:
                yield "second"
            except KeyError as error:
                told.append(error.args[0])
            yield one.item()
        finally:
            told.append("closed")
        return "returned"

    assert inspect.isgeneratorfunction(batches)
    generator: Any = batches()
    assert next(generator) == 1.0
    assert generator.send("sent") == "second"
    assert generator.throw(KeyError("thrown")) == 1.0
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "returned"
    assert told == ["sent", "thrown", "closed"]
    assert reads(batches.guard) == 2


def test_a_generator_that_is_not_asked_for_all_was_not_aborted(one: torch.Tensor) -> None:
    @guard(report=False)
    def batches() -> Iterator[float]:
        while True:
            yield one.item()

    generator: Any = batches()
    assert next(generator) == 1.0
    generator.close()
    assert not batches.guard.report.run.aborted
    assert reads(batches.guard) == 1


def test_an_asynchronous_generator_function_keeps_its_protocol(one: torch.Tensor) -> None:
    told: list[Any] = []

    @guard(report=False)
    async def batches() -> AsyncIterator[Any]:
        try:
            told.append((yield one.item()))
            try:
                yield "second"
            except KeyError as error:
                told.append(error.args[0])
            yield one.item()
            raise ValueError("last")
        finally:
            told.append("closed")

    async def main() -> None:
        generator: Any = batches()
        assert await anext(generator) == 1.0
        assert await generator.asend("sent") == "second"
        assert await generator.athrow(KeyError("thrown")) == 1.0
        with pytest.raises(ValueError, match="last"):
            await anext(generator)
        with pytest.raises(StopAsyncIteration):
            await anext(generator)

    assert inspect.isasyncgenfunction(batches)
    asyncio.run(main())
    assert told == ["sent", "thrown", "closed"]
    assert reads(batches.guard) == 2


def test_closing_an_asynchronous_generator_closes_the_users() -> None:
    told: list[str] = []

    @guard(report=False)
    async def batches() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            told.append("closed")

    async def main() -> None:
        generator: Any = batches()
        await anext(generator)
        await generator.aclose()
        told.append("after")

    asyncio.run(main())
    assert told == ["closed", "after"]


def test_after_a_call_is_shown_what_no_call_has_shown_yet(capsys: pytest.CaptureFixture[str]) -> None:
    @guard
    def step(both: bool) -> None:
        weights, kept = torch.ones(4), torch.ones(4)
        seen = weights.numpy()
        weights += 1
        weights.sum().item()
        if both:
            other = kept.numpy()
            kept += 1
            kept.sum().item()
            assert other[0] == 2
        assert seen[0] == 2

    shown = []
    for both in (False, False, True, True):
        step(both)
        shown.append("TWG402" in capsys.readouterr().err)
    assert shown == [True, False, True, False]


def test_a_class_is_no_function() -> None:
    with pytest.raises(TypeError, match="Model decorate the method to be watched"):

        @guard
        class Model:
            pass


def test_methods_can_be_decorated(one: torch.Tensor) -> None:
    class Trainer:
        scale = 2.0

        @guard(report=False)
        def step(self) -> float:
            return one.item() * self.scale

    assert Trainer().step() == 2.0
    assert reads(Trainer.step.guard) == 1


# -- paused --------------------------------------------------------------------------------------------------------------


def test_a_pause_is_of_one_guard_and_nests(one: torch.Tensor) -> None:
    with guard(report=False) as outer, guard(report=False) as inner:
        with inner.paused():
            one.item()
            with inner.paused():
                one.item()
            one.item()
        one.item()
    assert (reads(outer), reads(inner)) == (4, 1)


def test_an_exception_ends_a_pause(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        with pytest.raises(KeyError), g.paused():
            raise KeyError
        one.item()
    assert reads(g) == 1


def test_memory_shared_in_a_pause_is_nobodys_finding() -> None:
    with guard(report=False) as g, g.paused():
        array = torch.zeros(8).numpy()
        array[0] = 1
    assert not g.report.findings


# -- misuse --------------------------------------------------------------------------------------------------------------


def test_entering_twice_is_refused_and_the_first_entry_goes_on(one: torch.Tensor) -> None:
    with guard(report=False) as g:
        with pytest.raises(RuntimeError, match="open already"):
            g.start()
        with pytest.raises(RuntimeError, match="make a second one"), g:
            pass
        one.item()
    assert reads(g) == 1


def test_entering_the_guard_of_the_function_that_runs_is_refused(one: torch.Tensor) -> None:
    g = guard(report=False)

    @g
    def step() -> None:
        with pytest.raises(RuntimeError, match="open already"):
            g.start()
        one.item()

    step()
    assert reads(g) == 1


MISUSES: dict[str, tuple[Callable[[Any], object], str]] = {
    "stop": (lambda g: g.stop(), "enter it with"),
    "exit": (lambda g: g.__exit__(None, None, None), "was left already"),
    "report": (lambda g: g.report, "never open"),
    "collector": (lambda g: g.collector, "never open"),
    "check": (lambda g: g.check(), "while the guard is open"),
    "paused": (lambda g: g.paused().__enter__(), "for an open guard"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_a_guard_that_was_never_open(name: str) -> None:
    call, words = MISUSES[name]
    with pytest.raises(RuntimeError, match=words):
        call(guard(report=False))


@pytest.mark.parametrize("name", ["stop", "exit", "check", "paused"])
def test_a_guard_that_was_left(name: str) -> None:
    call, words = MISUSES[name]
    g = guard(report=False)
    with g:
        pass
    with pytest.raises(RuntimeError, match=words):
        call(g)


# -- the kill switch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["1", "yes", "TRUE"])
def test_the_kill_switch_switches_blocks_and_decorators_off(
    word: str, one: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORWATCH_GUARD_DISABLE", word)

    @guard("error", read=0, report=False)
    def step() -> float:
        assert not RUNNING.in_place
        return one.item()

    assert step() == 1.0
    with guard("error", read=0, report=False) as g:
        one.item()
    assert not g.report.findings
    assert g.report.blind_spots == ("everything: TENSORWATCH_GUARD_DISABLE switched the guard off",)


@pytest.mark.parametrize("word", ["0", "no", ""])
def test_a_kill_switch_that_says_no_switches_nothing_off(
    word: str, one: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORWATCH_GUARD_DISABLE", word)
    with guard(report=False) as g:
        one.item()
    assert reads(g) == 1


# -- what one guard leaves to the next -----------------------------------------------------------------------------------


def test_a_report_holds_nothing_of_the_guard_before(one: torch.Tensor) -> None:
    with guard(report=False) as first:
        for _ in range(20):
            torch.zeros(4).numpy()
    with guard(report=False) as second:
        pass
    assert first.report.run.overhead_s > 0
    assert second.report.run.overhead_s == 0
    assert (second.report.findings, second.report.notices) == ((), ())


# -- threads -------------------------------------------------------------------------------------------------------------


def test_threads_may_share_one_guard(one: torch.Tensor) -> None:
    g, errors, together = guard(report=False), list[BaseException](), threading.Barrier(4)

    def work() -> None:
        try:
            together.wait()
            for _ in range(20):
                with g:
                    one.item()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not g.is_open


def test_the_last_thread_to_leave_closes_it(one: torch.Tensor) -> None:
    g, inside, leave = guard(report=False), threading.Event(), threading.Event()

    def work() -> None:
        with g:
            one.item()
            inside.set()
            leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    with g:
        one.item()
    assert g.is_open
    leave.set()
    thread.join()
    assert not g.is_open
    assert reads(g) == 2


@pytest.mark.parametrize("kind", [property, staticmethod, classmethod])
def test_what_is_no_function_is_not_decorated(kind: Any) -> None:
    with pytest.raises(TypeError, match=f"write @{kind.__name__} above @guard"):
        guard(report=False)(kind(lambda *_: 3))
