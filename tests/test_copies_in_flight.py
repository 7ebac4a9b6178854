"""Copies that do not block: written at one end or read at the other before anybody waited, they are hazards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from tensorwatch_guard import GuardViolation, guard
from tensorwatch_guard.probes import install
from tensorwatch_guard.simulate import simulated_accelerator


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


class Ends:
    """Both ends of copies, pinned on the host's side."""

    def __init__(self) -> None:
        self.host = torch.arange(8.0).pin_memory()
        self.pageable = torch.arange(8.0)
        self.far = torch.arange(8.0, device="cuda") + 1
        self.stream = torch.cuda.current_stream()
        self.event = torch.cuda.Event()


def hazards(story: Callable[[Ends], Any]) -> list[Any]:
    ends = Ends()
    with guard(report=False) as g:
        story(ends)
    return list(g.report.hazards)


def up(e: Ends) -> Any:
    return e.host.to("cuda", non_blocking=True)


def down(e: Ends) -> Any:
    return e.host.copy_(e.far, non_blocking=True)


def record(e: Ends) -> None:
    e.event.record()
    e.event.synchronize()


WRITES: dict[str, Callable[[Ends], Any]] = {
    "fill": lambda e: e.host.fill_(3),
    "through a view": lambda e: e.host[2:4].zero_(),
    "by NumPy": lambda e: e.host.numpy().fill(3),
    "copy_": lambda e: e.host.copy_(e.pageable + 1),
}
READS: dict[str, Callable[[Ends], Any]] = {
    "tolist": lambda e: e.host.tolist(),
    "item": lambda e: e.host[0].item(),
    "print": lambda e: repr(e.host),
    "equal": lambda e: torch.equal(e.host, e.pageable),
}
WAITS: dict[str, Callable[[Ends], Any]] = {
    "synchronize": lambda e: torch.cuda.synchronize(),
    "stream": lambda e: e.stream.synchronize(),
    "event": record,
    "item": lambda e: e.far.sum().item(),
    "a blocking copy": lambda e: e.far.cpu(),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_source_that_is_written_under_way(name: str) -> None:
    def story(e: Ends) -> None:
        up(e)
        WRITES[name](e)
        torch.cuda.synchronize()

    (found,) = hazards(story)
    assert (found.details["type"], found.details["certain"], found.count) == ("async-copy", True, 1)
    assert "written" in found.details["what"]
    assert [link.role for link in found.related] == ["shared-by"]
    assert found.related[0].site.source == 'e.host.to("cuda", non_blocking=True)'


IN_PLACE: dict[str, Callable[[Ends], Any]] = {
    "add_": lambda e: e.host.add_(1),
    "setitem": lambda e: e.host.__setitem__(slice(2), 9.0),
    "iadd": lambda e: e.host.__iadd__(1),
    "normal_": lambda e: e.host.normal_(),
    "copy_": lambda e: e.host.copy_(e.pageable + 1),
    "through a view": lambda e: e.host[2:4].zero_(),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_write_in_place_is_told_where_it_stands(name: str) -> None:
    def story(e: Ends) -> None:
        up(e)
        IN_PLACE[name](e)
        torch.cuda.synchronize()

    (found,) = hazards(story)
    assert found.site is not None
    assert found.site.function == "<lambda>"


def test_what_somebody_else_wrote_is_not_put_to_a_call_in_place() -> None:
    def story(e: Ends) -> None:
        up(e)
        e.host.numpy().fill(3)
        e.host.mul_(1)
        torch.cuda.synchronize()

    (found,) = hazards(story)
    assert found.site is not None
    assert found.site.source == "torch.cuda.synchronize()"


@pytest.mark.parametrize("first", ["wait", "line"])
def test_a_wait_gives_way_to_the_line_that_is_found_for_the_same_copy(first: str) -> None:
    def story(e: Ends) -> None:
        for turn in range(2):
            up(e)
            if turn == (first == "wait"):
                e.host.add_(1)
            else:
                e.host.numpy().fill(3)
            torch.cuda.synchronize()

    (found,) = hazards(story)
    assert (found.site is not None, found.count) == (True, 2)
    assert found.site.source == "e.host.add_(1)"


def test_calls_in_place_are_watched_from_the_first_copy_on() -> None:
    before = vars(torch.Tensor).get("add_")
    e = Ends()
    with guard(report=False):
        assert vars(torch.Tensor).get("add_") is before
        up(e)
        assert vars(torch.Tensor).get("add_") is not before
    assert vars(torch.Tensor).get("add_") is before


def test_calls_in_place_that_cannot_all_be_watched_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(install.Handle):
        def __init__(self, owner: Any, attribute: str, hook: Any) -> None:
            if attribute == "zero_":
                raise RuntimeError("not this one")
            super().__init__(owner, attribute, hook)

    before = dict(vars(torch.Tensor))
    e = Ends()
    with guard(report=False) as g:
        monkeypatch.setattr(install, "Handle", Failing)
        assert torch.equal(up(e).cpu(), torch.arange(8.0))
        monkeypatch.undo()
    assert [notice.rule for notice in g.report.notices] == ["TWG901"]
    assert dict(vars(torch.Tensor)) == before


def test_an_array_of_a_result_under_way_may_be_read_too_early() -> None:
    def story(e: Ends) -> None:
        down(e)
        e.host.numpy()

    (found,) = hazards(story)
    assert (found.details["type"], found.details["certain"], found.rule) == ("async-copy", False, "TWG505")


@pytest.mark.parametrize("name", READS)
def test_a_result_that_is_read_under_way(name: str) -> None:
    def story(e: Ends) -> None:
        down(e)
        READS[name](e)

    (found,) = hazards(story)
    assert found.details["type"] == "async-copy"
    assert "read" in found.details["what"]
    assert found.site is not None
    assert found.site.file == __file__
    assert found.related[0].site.source == "e.host.copy_(e.far, non_blocking=True)"


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("name", [*WRITES, *READS])
def test_after_a_wait_everything_is_fine(name: str, wait: str) -> None:
    def story(e: Ends) -> None:
        (up if name in WRITES else down)(e)
        WAITS[wait](e)
        (WRITES.get(name) or READS[name])(e)
        torch.cuda.synchronize()

    assert hazards(story) == []


FINE: dict[str, Callable[[Ends], Any]] = {
    "a source that is read": lambda e: (up(e), e.host.tolist(), torch.cuda.synchronize()),
    "a source that is written with what it held": lambda e: (up(e), e.host.mul_(1), torch.cuda.synchronize()),
    "another source": lambda e: (up(e), e.pageable.fill_(3), torch.cuda.synchronize()),
    "pageable memory, which blocks": lambda e: (
        e.pageable.to("cuda", non_blocking=True), e.pageable.fill_(3), torch.cuda.synchronize(),
    ),
    "a copy that blocks": lambda e: (e.host.to("cuda"), e.host.fill_(3), torch.cuda.synchronize()),
    "a result that blocks": lambda e: (e.host.copy_(e.far), e.host.tolist()),
    "a source that is gone": lambda e: (up(e), setattr(e, "host", None), torch.cuda.synchronize()),
    "nobody reads": down,
    "the other half of a buffer is written": lambda e: (
        e.host[:4].to("cuda", non_blocking=True), e.host[4:].fill_(3), torch.cuda.synchronize(),
    ),
    "the other half of a buffer is read": lambda e: (
        e.host[:4].copy_(e.far[:4], non_blocking=True), e.host[4:].tolist(), torch.cuda.synchronize(),
    ),
    "the next copy comes into the source": lambda e: (up(e), e.host.copy_(e.far), torch.cuda.synchronize()),
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_is_not_told(name: str) -> None:
    assert hazards(FINE[name]) == []


def test_a_hazard_is_told_once_a_place() -> None:
    def story(e: Ends) -> None:
        for _ in range(5):
            down(e)
            e.host.tolist()
            torch.cuda.synchronize()

    (found,) = hazards(story)
    assert found.count == 5


def test_a_large_source_that_torch_writes() -> None:
    host = torch.zeros(2, 64 << 10).pin_memory()
    with guard(report=False) as g:
        host[0].to("cuda", non_blocking=True)
        host[1].add_(1)
        torch.cuda.synchronize()
        assert not g.report.hazards
        host[0].to("cuda", non_blocking=True)
        host.add_(1)
        torch.cuda.synchronize()
    assert [found.details["type"] for found in g.report.hazards] == ["async-copy"]


def test_copies_of_one_guard_are_not_the_next_ones() -> None:
    e = Ends()
    with guard(report=False):
        up(e)
    e.host.fill_(3)
    with guard(report=False) as g:
        torch.cuda.synchronize()
    assert g.report.hazards == ()


def test_as_an_error_it_is_raised_where_it_is_seen() -> None:
    e = Ends()
    with pytest.raises(GuardViolation) as caught, guard(hazard="error", report=False):
        down(e)
        e.host.tolist()
        raise AssertionError("not reached")
    assert [found.details["type"] for found in caught.value.findings] == ["async-copy"]
