"""``allow``: blocks and functions in which something passes; counted, shown with its reason, for its kinds only."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tensorwatch_guard import ConfigError, GuardViolation, allow, guard
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def read() -> float:
    return torch.ones(1).item()


def refused() -> bool:
    try:
        read()
    except GuardViolation:
        return True
    return False


def test_a_block_passes_and_is_counted_with_its_reason() -> None:
    with guard(read="error", report=False) as g:
        with allow("read", reason="every 100 steps"):
            for _ in range(3):
                read()
        assert refused()
    granted, stopped = g.report.reads
    assert (granted.allowed, granted.count) == ("every 100 steps", 3)
    assert (stopped.allowed, stopped.count) == (None, 1)
    assert g.report.totals["allowed"] == 3


def test_it_holds_for_its_kinds_only() -> None:
    with guard(read="error", alias="error", report=False):
        with allow("alias", reason="a view is wanted"):
            torch.ones(2).numpy()
            assert refused()
        with allow("alias", "read"):
            torch.ones(2).numpy()
            assert not refused()


def test_an_allowed_wait_is_an_allowed_read_on_the_cpu() -> None:
    with guard(read="error", report=False), allow("sync", reason="metrics"):
        assert not refused()


def test_directions_can_be_allowed_by_themselves() -> None:
    with simulated_accelerator("cuda"):
        host, there = torch.ones(2), torch.ones(2, device="cuda")
        with guard(transfer="error", report=False) as g, allow("d2h", reason="results go home"):
            there.cpu()
            with pytest.raises(GuardViolation):
                host.cuda()
            with allow("transfer"):
                host.cuda()
        assert [(f.details["direction"], f.allowed) for f in g.report.transfers] == [
            ("d2h", "results go home"),
            ("h2d", None),
            ("h2d", ""),
        ]


def test_blocks_nest_and_each_kind_keeps_its_own_reason() -> None:
    with guard(read="error", alias="error", report=False) as g:
        with allow("read", reason="outer"), allow("alias", reason="inner"):
            read()
            torch.ones(2).numpy()
        assert refused()
    assert g.report.reads[0].allowed == "outer"
    assert g.report.aliases[0].allowed == "inner"


def test_an_exception_ends_it() -> None:
    with guard(read="error", report=False):
        with pytest.raises(KeyError), allow("read"):
            raise KeyError
        assert refused()


def test_one_object_can_be_entered_again_and_inside_itself() -> None:
    permit = allow("read", reason="again")
    with guard(read="error", report=False):
        with permit, permit:
            assert not refused()
        with permit:
            assert not refused()
        assert refused()


def test_blocks_may_end_in_another_order() -> None:
    one, other = allow("read"), allow("alias")
    with guard(read="error", alias="error", report=False):
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert refused()
        torch.ones(2).numpy()
        other.__exit__(None, None, None)
        with pytest.raises(GuardViolation):
            torch.ones(2).numpy()


def test_first_only_lets_the_first_at_each_place_pass() -> None:
    with guard(read="error", report=False) as g, allow("read", first_only=True, reason="warm up"):
        results = [refused() for _ in range(3)]
        torch.ones(1).item()
    assert results == [False, True, True]
    assert {finding.count: finding.allowed for finding in g.report.reads}[1] == "warm up"


def test_it_is_of_its_thread_only() -> None:
    passed = []

    def work() -> None:
        with guard(read="error", report=False):
            passed.append(not refused())
            with allow("read"):
                passed.append(not refused())

    with guard(report=False), allow("read"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert passed == [False, True]


def test_it_is_of_its_task_only() -> None:
    async def allowed(inside: asyncio.Event, go_on: asyncio.Event) -> bool:
        with allow("read"):
            inside.set()
            await go_on.wait()
            return refused()

    async def main() -> list[bool]:
        inside, go_on = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(allowed(inside, go_on))
        await inside.wait()
        mine = refused()
        go_on.set()
        return [mine, await task]

    with guard(read="error", report=False):
        assert asyncio.run(main()) == [True, False]


@allow("read", reason="a function")
def function() -> bool:
    return refused()


@allow("read", reason="a coroutine")
async def coroutine() -> bool:
    await asyncio.sleep(0)
    return refused()


@allow("read", reason="a generator")
def generator() -> Iterator[bool]:
    yield refused()
    got = yield refused()
    try:
        yield bool(got) and refused()
    except KeyError:
        yield refused()
    finally:
        closed.append(refused())


@allow("read", reason="an async generator")
async def async_generator() -> AsyncIterator[bool]:
    try:
        yield refused()
        await asyncio.sleep(0)
        yield refused()
    finally:
        closed.append(refused())


closed: list[bool] = []


def test_a_decorated_function() -> None:
    with guard(read="error", report=False) as g:
        assert not function()
        assert refused()
    assert g.report.reads[0].allowed == "a function"
    assert function.__name__ == "function"


def test_a_decorated_coroutine() -> None:
    with guard(read="error", report=False):
        assert not asyncio.run(coroutine())
        assert refused()


def test_a_decorated_generator_is_allowed_only_while_its_own_code_runs() -> None:
    closed.clear()
    with guard(read="error", report=False):
        steps = generator()
        assert next(steps) is False
        assert refused()
        assert next(steps) is False
        assert steps.send(True) is False
        assert refused()
        assert steps.throw(KeyError) is False  # type: ignore[attr-defined]
        steps.close()  # type: ignore[attr-defined]
        assert closed == [False]
        assert refused()


def test_a_decorated_async_generator() -> None:
    async def main() -> list[bool]:
        got = []
        async for value in async_generator():
            got += [value, refused()]
        return got

    closed.clear()
    with guard(read="error", report=False):
        assert asyncio.run(main()) == [False, True, False, True]
    assert closed == [False]


def test_a_method_can_be_decorated() -> None:
    class Logger:
        @allow("read", reason="logging")
        def log(self) -> bool:
            return refused()

    with guard(read="error", report=False):
        assert not Logger().log()


def test_an_allowance_that_outlives_a_guard_holds_in_the_next() -> None:
    with allow("read"):
        for _ in range(2):
            with guard(read="error", report=False):
                assert not refused()
    with guard(read="error", report=False):
        assert refused()


def test_memory_does_not_grow_with_entries() -> None:
    with guard(report=False) as g:
        for step in range(2000):
            with allow("read", reason=f"step {step}"):
                read()
            if step == 200:
                before = len(g.report.reads)
    assert len(g.report.reads) == before
    assert sum(finding.count for finding in g.report.reads) == 2000


def test_it_costs_nothing_without_a_guard() -> None:
    with allow("sync", reason="nobody watches"):
        assert read() == 1.0


@pytest.mark.parametrize("kinds", [("snyc",), ("sync", "everything"), ("*",), (3,)])
def test_an_unknown_kind_is_an_error_that_lists_the_good_ones(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="kinds: read, sync, transfer, alias, mutation, hazard, refusal, h2d"):
        allow(*kinds)


def test_a_kind_has_to_be_named() -> None:
    with pytest.raises(ConfigError, match="say what"):
        allow(reason="everything")
    with pytest.raises(ConfigError, match="say what"):

        @allow  # type: ignore[arg-type]
        def function() -> None: ...


def test_a_class_cannot_be_decorated() -> None:
    with pytest.raises(ConfigError, match="functions"):
        allow("sync")(type("Model", (), {}))


@contextmanager
def permission() -> Iterator[None]:
    with allow("read", reason="through a helper"):
        yield


def test_a_context_manager_of_ones_own_can_hold_it() -> None:
    with guard(read="error", report=False) as g, permission():
        read()
    assert g.report.reads[0].allowed == "through a helper"


def test_a_compiled_function_stays_whole() -> None:
    def block(x: torch.Tensor) -> torch.Tensor:
        with allow("sync", reason="in a compiled function"):
            return x.sum() * 2

    @allow("sync")
    def decorated(x: torch.Tensor) -> torch.Tensor:
        return x.sum() * 2

    for function in (block, decorated):
        torch._dynamo.reset()
        compiled = torch.compile(function, backend="eager", fullgraph=True)
        assert compiled(torch.ones(3)) == 6


@pytest.mark.parametrize("kind", [property, staticmethod, classmethod])
def test_what_is_no_function_is_not_decorated(kind: Any) -> None:
    with pytest.raises(ConfigError, match=f"write @{kind.__name__} above it"):
        allow("read")(kind(lambda *_: 3))
