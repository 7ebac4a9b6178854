"""What a watched call costs over the bare one, and what entering and leaving a guard costs.

python benchmarks/calls.py [--json FILE] [--quick]
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
import wrapt
from measuring import Cell, Tables, difference, figure, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

scalar, wanting = torch.ones(()), torch.ones((), requires_grad=True)
small, page = torch.ones(64), torch.ones(1024)
array, nowhere = np.ones(1024, np.float32), io.StringIO()
no_aim = "-"


def item(count: int) -> None:
    """A read."""
    for _ in range(count):
        scalar.item()


def item_of_a_gradient(count: int) -> None:
    """A read that may warn."""
    for _ in range(count):
        wanting.item()


def to_float(count: int) -> None:
    """An implicit read."""
    for _ in range(count):
        float(scalar)


def to_the_same(count: int) -> None:
    """Nothing to do."""
    for _ in range(count):
        page.to(torch.float32)


def to_another(count: int) -> None:
    """A cast."""
    for _ in range(count):
        page.to(torch.float64)


def to_list(count: int) -> None:
    """A read of many."""
    for _ in range(count):
        small.tolist()


def to_numpy(count: int) -> None:
    """An array that dies at once."""
    for _ in range(count):
        page.numpy()


def from_numpy(count: int) -> None:
    """A tensor that dies at once."""
    for _ in range(count):
        torch.from_numpy(array)


def as_tensor(count: int) -> None:
    """The long way of an alias."""
    for _ in range(count):
        torch.as_tensor(array)


def printed(count: int) -> None:
    """A read for the eye."""
    for _ in range(count):
        print(scalar, file=nowhere)
    nowhere.seek(0)
    nowhere.truncate()


CALLS: tuple[tuple[str, Callable[[int], None], int, str], ...] = (
    ("t.item()", item, 4000, "1.5 us"),
    ("t.item(), t requires a gradient", item_of_a_gradient, 4000, "1.5 us"),
    ("float(t)", to_float, 4000, "1.5 us"),
    ("t.tolist(), 64 elements", to_list, 2000, no_aim),
    ("print(t)", printed, 200, no_aim),
    ("t.to(same dtype)", to_the_same, 3000, no_aim),
    ("t.to(torch.float64), 4 KiB", to_another, 2000, no_aim),
    ("t.numpy(), 4 KiB, dies at once", to_numpy, 2000, "6 us"),
    ("torch.from_numpy(a), 4 KiB, dies at once", from_numpy, 2000, "6 us"),
    ("torch.as_tensor(a), 4 KiB, dies at once", as_tensor, 1000, no_aim),
)


def empty_wrapper() -> dict[str, Cell]:
    """What wrapt alone costs: a wrapper around ``item`` that only passes on."""
    original = torch.Tensor.item
    over = []
    for _ in range(9):
        began = time.process_time()
        item(4000)
        between = time.process_time()
        torch.Tensor.item = wrapt.FunctionWrapper(original, lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))  # type: ignore[assignment, method-assign]
        try:
            started = time.process_time()
            item(4000)
            ended = time.process_time()
        finally:
            del torch.Tensor.item
        over.append((ended - started - (between - began)) / 4000 * 1e6)
    found = figure(over, "us", sign=True, judged=False)
    return {"bare": "-", "over bare": found, "spread": found.noise(), "aim": "-"}


def entering(turns: int) -> dict[str, Cell]:
    """Microseconds from before ``with guard()`` until after it, with nothing inside."""
    found = []
    for _ in range(turns):
        began = time.process_time()
        with quiet():
            pass
        found.append((time.process_time() - began) * 1e6)
    median = figure(found[1:], "us", 0)
    return {"median": median, "spread": median.noise()}


def main() -> None:
    """Measure and print."""
    tables = Tables("Cost of a watched call over the bare call")
    tables.table("Calls of a CPU tensor, in the user's own code")
    for name, call, count, aim in CALLS:
        tables.row(name, {**difference(call, tables.fewer(count), tables.fewer(9, 2)), "aim": aim})
    tables.row("an empty wrapt wrapper around item, no guard", empty_wrapper())
    tables.table("Entering and leaving a guard")
    tables.row("enter and exit", {**entering(tables.fewer(60)), "aim": "1 ms"})
    with quiet():
        tables.row("enter and exit while another is open", {**entering(tables.fewer(2000)), "aim": "20 us"})
    tables.end()


if __name__ == "__main__":
    main()
