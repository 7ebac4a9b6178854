"""A line that hands out memory thousands of times is watched by sample; all of it is counted."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import threading
import warnings
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import allow, guard
from tensorwatch_guard.report.model import Report


def handed_out(turns: int, write: Any, **options: Any) -> Report:
    """The report on one line that shares an array in each turn; ``write`` may write to it afterwards."""
    with guard(report=False, **options) as g:
        for turn in range(turns):
            array = np.full(16, float(turn), dtype=np.float32)
            tensor = torch.from_numpy(array)
            write(turn, array, tensor)
            del tensor
    return g.report


def nothing(turn: int, array: Any, tensor: torch.Tensor) -> None:
    assert tensor[0] == turn


def test_each_is_counted_and_a_part_is_watched() -> None:
    (alias,) = handed_out(3000, nothing).aliases
    assert alias.count == 3000
    assert alias.bytes == 3000 * 64
    assert 2600 < alias.details["unwatched"] < 2872


def test_a_line_that_is_not_busy_is_watched_whole() -> None:
    (alias,) = handed_out(128, nothing).aliases
    assert "unwatched" not in alias.details


def test_one_whose_arrays_are_kept_is_watched_longer() -> None:
    kept: list[Any] = []
    (alias,) = handed_out(256, lambda turn, array, tensor: kept.append(tensor)).aliases
    assert len(kept) == 256
    assert "unwatched" not in alias.details


def test_one_that_begins_to_be_kept_is_watched_more() -> None:
    kept: list[Any] = []

    def late(turn: int, array: Any, tensor: torch.Tensor) -> None:
        if turn >= 600:
            kept.append(tensor)

    (alias,) = handed_out(3000, nothing).aliases
    (late_alias,) = handed_out(3000, late).aliases
    assert late_alias.details["unwatched"] < alias.details["unwatched"] - 40


def test_whoever_asks_for_exact_has_all_watched() -> None:
    (alias,) = handed_out(400, nothing, writes="exact").aliases
    assert "unwatched" not in alias.details


def test_what_begins_late_is_still_found() -> None:
    def late(turn: int, array: Any, tensor: torch.Tensor) -> None:
        if turn > 1000:
            array += 1

    report = handed_out(3000, late, writes="check")
    (mutation,) = report.mutations
    assert 32 < mutation.count < 200
    assert mutation.first_step == 0


def test_the_sample_keeps_in_step_with_no_loop() -> None:
    """Four arrays are handed out by one line in turn; only the third is ever written, and only after a while."""
    for length in (2, 3, 4, 8, 16, 64):
        arrays = [np.zeros(16, np.float32) for _ in range(length)]
        with guard(report=False, writes="check") as g:
            for turn in range(4000):
                shared = torch.from_numpy(arrays[turn % length])
                if turn > 512 and turn % length == 1:
                    arrays[1] += 1
                del shared
        assert g.report.mutations, length


def test_the_text_says_so() -> None:
    def always(turn: int, array: Any, tensor: torch.Tensor) -> None:
        array += 1

    report = handed_out(1000, always, writes="check")
    assert re.search(r"1,000 times \([34]\d\d of\s+them watched\)", str(report))


def test_through_a_library_the_same_holds() -> None:
    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 1000

        def __getitem__(self, index: int) -> Any:
            return np.full(4, float(index), dtype=np.float32)

    with guard(report=False) as g:
        for _ in torch.utils.data.DataLoader(Rows(), batch_size=None):
            pass
    (alias,) = g.report.aliases
    assert alias.count == 1000
    assert 700 < alias.details["unwatched"] < 820


SETTLED = 4000
"""More events than a line needs to be counted and nothing else."""


@pytest.mark.parametrize("read", [methodcaller("item"), float, bool], ids=["item", "float", "bool"])
def test_reads_of_a_settled_line_are_all_counted(read: Any) -> None:
    one = torch.ones(1)
    with guard(report=False) as g:
        for _ in range(SETTLED):
            read(one)
    assert [finding.count for finding in g.report.reads] == [SETTLED]


def test_aliases_of_a_settled_line_are_all_counted() -> None:
    tensor, array = torch.ones(4), np.ones(4, np.float32)
    with guard(report=False) as g:
        for _ in range(SETTLED):
            tensor.numpy()
        for _ in range(SETTLED):
            torch.from_numpy(array)
        for _ in range(SETTLED):
            torch.as_tensor(array)
    assert [(alias.count, alias.bytes) for alias in g.report.aliases] == [(SETTLED, SETTLED * 16)] * 3


def test_what_a_settled_line_copies_is_not_counted() -> None:
    shared, copied = np.ones(4, np.float32), np.ones(4, np.float64)
    with guard(report=False) as g:
        for turn in range(SETTLED):
            torch.as_tensor(copied if turn > 2000 and turn % 2 else shared, dtype=torch.float32)
    (alias,) = g.report.aliases
    assert alias.count == sum(not (turn > 2000 and turn % 2) for turn in range(SETTLED))


def test_each_thread_counts_its_own() -> None:
    tensor = torch.ones(1)

    def run() -> None:
        for _ in range(SETTLED):
            tensor.item()

    threads = [threading.Thread(target=run) for _ in range(4)]
    with guard(report=False) as g:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(finding.count for finding in g.report.reads) == 4 * SETTLED


def through_a_library(tmp_path: Path) -> Any:
    """A module of a library that reads and shares."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "busy_library.py").write_text(
        "def read(tensor):\n    return tensor.item()\n\n\n"
        "def deeper(tensor):\n    return read(tensor)\n\n\n"
        "def shown(tensor):\n    return tensor.detach().numpy()\n"
    )
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("busy_library")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("busy_library", None)


def test_another_line_of_the_users_behind_a_settled_one_is_found(tmp_path: Path) -> None:
    library, one = through_a_library(tmp_path), torch.ones(1)
    with guard(report=False) as g:
        for _ in range(SETTLED):
            library.read(one)
        library.read(one) + 1
        for _ in range(SETTLED):
            library.read(one)
    assert sorted(finding.count for finding in g.report.reads) == [1, SETTLED, SETTLED]


def test_memory_handed_out_once_by_a_settled_line_is_watched(tmp_path: Path) -> None:
    """A helper of a library that everything calls, and at the end of an epoch one line that keeps what it gives."""
    library, layer, history = through_a_library(tmp_path), torch.nn.Linear(2, 2), []
    with guard(report=False) as g:
        for _ in range(3):
            for _ in range(SETTLED):
                library.shown(layer.weight)
            history.append(library.shown(layer.weight))
            with torch.no_grad():
                layer.weight += 1
    assert {alias.count for alias in g.report.aliases} == {3 * SETTLED, 3}
    assert {one.site.source for finding in g.report.mutations for one in finding.related if one.role == "shared-by"} == {
        "library.shown(layer.weight)"
    }


def test_two_lines_in_turn_are_told_apart(tmp_path: Path) -> None:
    library, one = through_a_library(tmp_path), torch.ones(1)
    with guard(report=False) as g:
        for _ in range(SETTLED):
            library.read(one)
            library.deeper(one)
            library.deeper(one)
    assert sorted(finding.count for finding in g.report.reads) == [SETTLED, SETTLED, SETTLED]


def test_a_settled_line_still_refuses_and_tells(tmp_path: Path) -> None:
    one, two = torch.ones(1), torch.ones(2)
    with guard(report=False) as g, contextlib.suppress(RuntimeError):
        for turn in range(SETTLED):
            (two if turn == SETTLED - 1 else one).item()
    assert [finding.count for finding in g.report.refusals] == [1]
    assert [finding.count for finding in g.report.reads] == [SETTLED - 1]


def test_who_comes_in_later_hears_of_it() -> None:
    one = torch.ones(1)

    def read() -> None:
        one.item()

    with guard(report=False) as outer:
        for _ in range(SETTLED):
            read()
        with guard(report=False) as inner:
            for _ in range(10):
                read()
        for _ in range(10):
            read()
    assert [finding.count for finding in inner.report.reads] == [10]
    assert [finding.count for finding in outer.report.reads] == [SETTLED + 20]


def test_allowed_reads_of_a_settled_line_are_allowed() -> None:
    one = torch.ones(1)

    def read() -> None:
        one.item()

    with guard(report=False) as g:
        for _ in range(SETTLED):
            read()
        with allow("read", reason="a test"):
            for _ in range(10):
                read()
    assert sorted((finding.count, finding.allowed) for finding in g.report.reads) == [(10, "a test"), (SETTLED, None)]


def test_a_write_of_a_settled_line_is_found() -> None:
    """It is only watched now and then, as before."""
    arrays = [np.zeros(16, np.float32) for _ in range(4)]
    with guard(report=False) as g:
        for turn in range(3 * SETTLED):
            tensor = torch.from_numpy(arrays[turn % 4])
            if turn > 2 * SETTLED:
                arrays[turn % 4] += 1
            del tensor
    assert len(g.report.mutations) == 1


def test_allowed_step_counts_of_a_settled_optimizer_are_allowed() -> None:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(12)]
    optimizer = torch.optim.Adam(parameters, foreach=False)
    for parameter in parameters:
        parameter.grad = torch.ones(1)

    def step() -> None:
        optimizer.step()

    with guard(report=False) as g:
        for _ in range(200):
            step()
        with allow("read", reason="a test"):
            for _ in range(10):
                step()
    assert sorted((finding.count, finding.allowed) for finding in g.report.reads) == [(120, "a test"), (2400, None)]


def test_a_settled_line_looks_again_once_memory_is_shared() -> None:
    """What it passes is known: the write is named, or told with the turns of the loop in between."""
    one, array = torch.ones(1), np.zeros(4, np.float32)
    with guard(report=False, writes="check") as g:
        for turn in range(2 * SETTLED):
            if turn == SETTLED:
                shared = torch.from_numpy(array)
            if turn == SETTLED + 5:
                array += 1
            one.item()
    del shared
    (mutation,) = g.report.mutations
    assert mutation.details["between"][1]["source"] == "one.item()"


def test_a_settled_line_warns_where_it_stands_when_it_is_traced() -> None:
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x * x.sum().item() + torch.from_numpy(x.numpy())

    x = torch.ones(3)

    def warned() -> list[tuple[str, int]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.jit.trace(scaled, (x,), check_trace=False)
        return [(one.filename, one.lineno) for one in caught if issubclass(one.category, torch.jit.TracerWarning)]

    bare = warned()
    assert bare
    with guard(report=False):
        for _ in range(SETTLED):
            scaled(x)
        assert warned() == bare
