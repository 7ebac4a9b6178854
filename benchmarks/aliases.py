"""What an alias costs: made and dropped, made and kept, ten thousand of them alive, and very large ones that nobody writes.

python benchmarks/aliases.py [--json FILE] [--quick]
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from measuring import Figure, Tables, by_turns, difference, figure, middle, processor, quiet, resident

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"256 B": 256, "4 KiB": 4 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "256 MiB": 256 << 20}
LIVE = 10_000
BEGINNING, LONG = 250, 4_000
"""Steps beside memory that nobody writes: what looking may cost at first (35 ms) is much of the one and little of the other."""


def dropped(tensor: torch.Tensor) -> Callable[[int], None]:
    """The array dies at once."""

    def run(count: int) -> None:
        for _ in range(count):
            tensor.numpy()

    return run


def kept(nbytes: int, most: int) -> Callable[[int], None]:
    """The arrays of different tensors stay until the end of the run, as in a list of results."""
    tensors = [torch.ones(nbytes // 4) for _ in range(most)]

    def run(count: int) -> None:
        arrays = [tensor.numpy() for tensor in tensors[:count]]
        arrays.clear()

    return run


def by_lines(tensors: list[torch.Tensor]) -> list[object]:
    """The arrays of all, each from a line of its own, as no program has them: no line is then watched by sample."""
    return [array for code, part in zip(LINES, _parts(tensors), strict=True) for array in eval(code, {"t": part})]  # noqa: S307


def by_one_line(tensors: list[torch.Tensor]) -> list[object]:
    """The arrays of all, from one line, which is watched by sample."""
    return [tensor.numpy() for tensor in tensors]


def _parts(tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    return [tensors[at : at + 100] for at in range(0, LIVE, 100)]


LINES = [
    compile("(\n" + "".join(f"t[{at}].numpy(),\n" for at in range(100)) + ")", f"<cell {number}>", "eval")
    for number in range(LIVE // 100)
]


def many(tables: Tables, make: Callable[[list[torch.Tensor]], list[object]], how: str) -> None:
    """Ten thousand aliases of 256 bytes, and what a look at all of them costs."""
    tables.table(f"{LIVE} live aliases of 256 B, {how}")
    tensors = [torch.ones(64) for _ in range(LIVE)]
    weight = torch.ones(64, requires_grad=True)

    def backward() -> None:
        (weight * 2).sum().backward()

    bare = [processor(lambda: make(tensors)) for _ in range(5)]
    plain = [processor(backward) for _ in range(60)]
    making, memory, looks = [], [], []
    for _ in range(tables.fewer(5, 2)):
        before = resident()
        with quiet():
            began = time.process_time()
            arrays = make(tensors)
            making.append(time.process_time() - began)
            looks += [processor(backward) for _ in range(12)]
            memory.append(resident() - before)
            arrays.clear()
    made = figure([(one - middle(bare)[0]) / LIVE * 1e6 for one in making], "us")
    tables.row("each, over bare", {"median": made, "spread": made.noise()})
    looked = figure([(one - middle(plain)[0]) * 1e6 for one in looks], "us", 0)
    tables.row("one backward (a look at all), over bare", {"median": looked, "spread": looked.noise()})
    tables.row("resident memory an alias, first round", {"median": Figure(memory[0] * 1024 / LIVE, "KiB"), "spread": "-"})


def never_written(tables: Tables) -> None:
    """An alias beside a loop that does not touch it."""
    tables.table("Large memory that stays alive and is never written, beside a training loop (aim: 2 % of the time)")
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    batch, target = torch.randn(256, 64), torch.randint(0, 10, (256,))

    def loop(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), target).backward()
            optimizer.step()

    def row(name: str, make: Callable[[], object]) -> None:
        shares: dict[int, list[float]] = {BEGINNING: [], LONG: []}
        growths = []
        loop(20)
        for steps, turns in ((BEGINNING, 7), (LONG, 3)):
            for _ in range(tables.fewer(turns, 2)):
                bare = processor(partial(loop, steps))
                with quiet(writes="auto") as watched:
                    alias = make()
                    before = resident()
                    guarded = processor(partial(loop, steps))
                    growths.append(resident() - before)
                    del alias
                shares[steps].append(guarded / bare)
        found = {steps: figure(shares[steps], digits=3) for steps in shares}
        notices = ", ".join(notice.text for notice in watched.report.notices) or "everything was compared"
        tables.row(name, {
            f"ratio, {BEGINNING} steps": found[BEGINNING], "spread": found[BEGINNING].noise(),
            f"ratio, {LONG} steps": found[LONG], "spread, long": found[LONG].noise(),
            "resident growth": Figure(max(growths), "MiB", 1, grain=1.0), "report": notices,
        })  # fmt: skip

    row("no alias", object)
    row("400 B array, torch.from_numpy(array)", lambda: torch.from_numpy(np.ones(100, np.float32)))
    large = torch.ones(1 << 28)
    row("1 GiB tensor, tensor.numpy()", large.numpy)
    del large
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(2 << 30)
        mapped = np.memmap(file.name, np.float32, "r+")
        row("2 GiB memmap, torch.from_numpy(mapped)", lambda: torch.from_numpy(mapped))


def main() -> None:
    """Measure and print."""
    tables = Tables("Cost of shared memory, guard as it is by default")
    turns = tables.fewer(7, 2)
    tables.table("An alias, over the bare call")
    for name, nbytes in SIZES.items():
        count = 2000 if nbytes <= 64 << 10 else 100 if nbytes <= 1 << 20 else 10
        tables.row(f"{name}, dropped at once", difference(dropped(torch.ones(nbytes // 4)), tables.fewer(count), turns))
    for name, nbytes in SIZES.items():
        most = 200 if nbytes <= 64 << 10 else 20 if nbytes <= 1 << 20 else 2
        tables.row(f"{name}, kept for a while and dropped", difference(kept(nbytes, most), most, turns))
    many(tables, by_one_line, "made by one line")
    many(tables, by_lines, f"made by {LIVE} lines")
    never_written(tables)
    array = np.ones(1024, np.float32)
    tables.table("A replay buffer: the same array handed out again while all older aliases live")

    def again() -> None:
        buffer = [torch.from_numpy(array) for _ in range(1000)]
        buffer.clear()

    bare, guarded = by_turns(again, turns, inside=True)
    over = figure([(b - a) / 1000 * 1e6 for a, b in zip(bare, guarded, strict=True)], "us")
    tables.row("each, over bare", {"median": over, "spread": over.noise()})
    tables.end()


if __name__ == "__main__":
    main()
