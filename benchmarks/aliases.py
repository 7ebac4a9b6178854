"""What an alias costs: made and dropped, made and kept, ten thousand of them alive, and very large ones that nobody writes.

python benchmarks/aliases.py [--json FILE]
"""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from measuring import Tables, by_turns, difference, middle, processor, quiet, resident

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"256 B": 256, "4 KiB": 4 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "256 MiB": 256 << 20}
LIVE = 10_000


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


def many(tables: Tables) -> None:
    """Ten thousand aliases of 256 bytes, and what a look at all of them costs."""
    tables.table(f"{LIVE} live aliases of 256 B")
    tensors = [torch.ones(64) for _ in range(LIVE)]
    weight = torch.ones(64, requires_grad=True)

    def backward() -> None:
        (weight * 2).sum().backward()

    bare = [processor(lambda: [tensor.numpy() for tensor in tensors]) for _ in range(5)]
    plain = [processor(backward) for _ in range(60)]
    making, memory, looks = [], [], []
    for _ in range(5):
        before = resident()
        with quiet():
            began = time.process_time()
            arrays = [tensor.numpy() for tensor in tensors]
            making.append(time.process_time() - began)
            looks += [processor(backward) for _ in range(12)]
            memory.append(resident() - before)
            arrays.clear()
    made, spread = middle([(one - middle(bare)[0]) / LIVE * 1e6 for one in making])
    tables.row("each, over bare", {"median": f"{made:.2f} us", "spread": f"{spread:.2f} us"})
    looked, spread = middle([(one - middle(plain)[0]) * 1e6 for one in looks])
    tables.row("one backward (a look at all), over bare", {"median": f"{looked:.0f} us", "spread": f"{spread:.0f} us"})
    tables.row("resident memory, first round", {"median": f"{memory[0] * 1024 / LIVE:.2f} KiB an alias", "spread": "-"})


def never_written(tables: Tables) -> None:
    """A large alias beside a loop that does not touch it."""
    tables.table("Large memory that stays alive and is never written, beside a training loop (aim: 2 % of the time)")
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    batch, target = torch.randn(256, 64), torch.randint(0, 10, (256,))

    def loop(steps: int = 250) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), target).backward()
            optimizer.step()

    def row(name: str, make: Callable[[], object]) -> None:
        shares, growths = [], []
        loop(20)
        for _ in range(7):
            bare = processor(loop)
            with quiet(writes="auto") as watched:
                alias = make()
                before = resident()
                guarded = processor(loop)
                growths.append(resident() - before)
                del alias
            shares.append(guarded / bare)
        share, spread = middle(shares)
        notices = ", ".join(notice.text for notice in watched.report.notices) or "everything was compared"
        tables.row(name, {
            "ratio": f"{share:.3f}", "spread": f"{spread:.3f}", "resident growth": f"{max(growths):.1f} MiB", "report": notices,
        })  # fmt: skip

    row("no alias", object)
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
    tables.table("An alias, over the bare call")
    for name, nbytes in SIZES.items():
        count = 2000 if nbytes <= 64 << 10 else 100 if nbytes <= 1 << 20 else 10
        tables.row(f"{name}, dropped at once", difference(dropped(torch.ones(nbytes // 4)), count, 7))
    for name, nbytes in SIZES.items():
        most = 200 if nbytes <= 64 << 10 else 20 if nbytes <= 1 << 20 else 2
        tables.row(f"{name}, kept for a while and dropped", difference(kept(nbytes, most), most, 7))
    many(tables)
    never_written(tables)
    array = np.ones(1024, np.float32)
    tables.table("A replay buffer: the same array handed out again while all older aliases live")

    def again() -> None:
        buffer = [torch.from_numpy(array) for _ in range(1000)]
        buffer.clear()

    bare, guarded = by_turns(again, 7, inside=True)
    over, spread = middle([(b - a) / 1000 * 1e6 for a, b in zip(bare, guarded, strict=True)])
    tables.row("each, over bare", {"median": f"{over:.2f} us", "spread": f"{spread:.2f} us"})
    tables.end()


if __name__ == "__main__":
    main()
