"""What the guard costs whole programs, entering, leaving and the report included; and what other watchers cost them.

python benchmarks/loops.py [--json FILE] [--quick]
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from measuring import Cell, Figure, Tables, by_turns, figure, middle, processor, quiet, ratio
from torch import nn
from torch.nn import functional
from watchers import OURS, WATCHERS

if TYPE_CHECKING:
    from collections.abc import Callable

    Program = tuple[str, Callable[[], Callable[[], object]]]

EXAMPLE = "digits, the example with its mistakes"
LONG_S = 4
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def digits() -> Callable[[], object]:
    """The example, mistakes and all."""
    sys.path.insert(0, str(EXAMPLES))
    import train_digits

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            train_digits.main()

    return run


def clean_digits() -> Callable[[], object]:
    """The same network and data without the mistakes: copies where the example shares."""
    import train_digits

    images, labels, _, _ = train_digits.load()
    samples = torch.utils.data.TensorDataset(torch.tensor(images), torch.tensor(labels))

    def run() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 4 * 4, 10)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=4e-2)
        for _ in range(5):
            total = 0.0
            for batch, target in torch.utils.data.DataLoader(samples, batch_size=64, shuffle=True):
                loss = functional.cross_entropy(model(batch), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()

    return run


def tiny() -> Callable[[], object]:
    """The worst case: steps of a quarter of a millisecond, each with a read."""
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    batch, target = torch.randn(32, 16), torch.randint(0, 4, (32,))

    def run() -> None:
        losses = []
        for _ in range(1500):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(batch), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    return run


def transformer() -> Callable[[], object]:
    """Characters, two layers of 64 with four heads; the loss is read every tenth step, as good programs do."""
    torch.manual_seed(0)
    text = torch.tensor([ord(letter) % 64 for letter in (EXAMPLES / "train_digits.py").read_text()])
    embedding, head = nn.Embedding(64, 64), nn.Linear(64, 64)
    body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True), 2)
    mask = nn.Transformer.generate_square_subsequent_mask(32)
    optimizer = torch.optim.AdamW([*embedding.parameters(), *body.parameters(), *head.parameters()], lr=1e-3)

    def run() -> None:
        for step in range(40):
            starts = torch.randint(0, len(text) - 33, (16,)).tolist()
            part = torch.stack([text[start : start + 33] for start in starts])
            logits = head(body(embedding(part[:, :-1]), mask=mask, is_causal=True))
            loss = functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 10 == 9:
                loss.item()

    return run


def reinforcement() -> Callable[[], object]:
    """Observations come as new NumPy arrays, one by one; a learning step every 16 of them."""
    policy = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    world = np.random.default_rng(0)

    def run() -> None:
        kept: list[torch.Tensor] = []
        for turn in range(1200):
            observation = world.standard_normal(8).astype(np.float32)
            with torch.no_grad():
                action = int(policy(torch.from_numpy(observation)).argmax())
            kept.append(torch.from_numpy(observation + action))
            if turn % 16 == 15:
                optimizer.zero_grad()
                policy(torch.stack(kept)).square().mean().backward()
                optimizer.step()
                kept.clear()

    return run


class Rows(torch.utils.data.Dataset[torch.Tensor]):
    """A data set of NumPy rows, handed out as tensors that share."""

    def __init__(self) -> None:
        self.rows = np.random.default_rng(0).standard_normal((4000, 256)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.rows[index])


def loading() -> Callable[[], object]:
    """The loader is all the work there is: an alias a sample."""
    rows = Rows()

    def run() -> None:
        for batch in torch.utils.data.DataLoader(rows, batch_size=64):
            assert batch.shape[1] == 256

    return run


def rewritten() -> tuple[Callable[[int], list[float]], int]:
    """A step of about a millisecond, five aliases of 232 KiB in all, each rewritten in each step; milliseconds a step."""
    model = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    arrays = [np.zeros(59_392 // 4 * 4, np.float32) for _ in range(5)]
    batch, target = torch.randn(128, 128), torch.randint(0, 10, (128,))

    def run(steps: int) -> list[float]:
        shared = [torch.from_numpy(array) for array in arrays]
        took = []
        for step in range(steps):
            began = time.process_time()
            for array in arrays:
                np.add(array, step + 1, out=array)
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), target).backward()
            optimizer.step()
            took.append((time.process_time() - began) * 1e3)
        assert len(shared) == 5
        return took

    return run, sum(array.nbytes for array in arrays)


def passes(name: str, run: Callable[[], object], times: int) -> None:
    """So many passes of a program; of the example one training of so many times its epochs."""
    if name == EXAMPLE:
        import train_digits

        epochs = train_digits.EPOCHS
        train_digits.EPOCHS = epochs * times
        run()
        train_digits.EPOCHS = epochs
    else:
        for _ in range(times):
            run()


def longer(name: str, run: Callable[[], object], tables: Tables) -> Figure:
    """The ratio of a training of some seconds, all included: what is looked at in a beginning weighs as it does there."""
    run()
    times = max(1, round(tables.fewer(LONG_S, 1) / processor(run)))
    ratios = []
    for _ in range(tables.fewer(3)):
        plain = processor(lambda: passes(name, run, times))

        def guarded() -> None:
            with quiet():
                passes(name, run, times)

        ratios.append(processor(guarded) / plain)
    return figure(ratios, digits=3)


def escalation(tables: Tables) -> None:
    """The loop of rewritten aliases in each mode, and in auto by its phases."""
    run, nbytes = rewritten()
    steps = tables.fewer(200, 25)
    tables.table(f"Five live aliases, {nbytes / (1 << 20):.2f} MiB, all rewritten in each step (aim: 1.05)")
    run(steps)
    bare: list[float] = []
    phases: dict[str, list[float]] = {}

    def note(name: str, took: list[float], plain: float) -> None:
        phases.setdefault(name, []).append(middle(took)[0] / plain)

    for _ in range(tables.fewer(7, 2)):
        plain = middle(run(steps))[0]
        bare.append(plain)
        for mode in ("off", "check", "auto"):
            with quiet(writes=mode):
                took = run(steps)
            if mode != "auto":
                note(f"writes={mode!r}", took, plain)
                continue
            note("writes='auto': the first step", took[:1], plain)
            note("writes='auto': while lines are followed (steps 2 to 4)", took[1:4], plain)
            note(f"writes='auto': afterwards (steps 21 to {steps})", took[20:], plain)
            phases.setdefault(f"writes='auto': all {steps} steps", []).append(sum(took) / (plain * steps))
    step, spread = middle(bare)
    tables.row("bare", {"ratio": "1", "spread": f"{spread / step:.3f}", "step": Figure(step, "ms", judged=False)})
    for name, ratios in phases.items():
        share = figure(ratios, digits=3)
        in_ms = Figure(share.value * step, "ms", judged=False)
        tables.row(name, {"ratio": share, "spread": share.noise(), "step": in_ms})


def beside(tables: Tables, guarded: dict[str, dict[str, Cell]]) -> None:
    """The same programs under other watchers, one after the other: an empty mode loads Dynamo, and is the last therefore."""
    tables.table("The same under other watchers: ratio to bare (entering, leaving and what they make then included)")
    others = {name: context for name, context in WATCHERS.items() if name != "guard"}
    for name, context in others.items():
        for program, make in PROGRAMS:
            bare, watched = by_turns(make(), tables.fewer(3), context)
            ratios = [b / a for a, b in zip(bare, watched, strict=True)]
            guarded[program][name] = figure(ratios, judged=name in OURS)
    for program, cells in guarded.items():
        tables.row(program, cells)


PROGRAMS: tuple[Program, ...] = (
    (EXAMPLE, digits),
    ("digits without the mistakes", clean_digits),
    ("tiny MLP, a read each step", tiny),
    ("transformer on characters", transformer),
    ("reinforcement learning with NumPy observations", reinforcement),
    ("nothing but a DataLoader, an alias a sample", loading),
)


def main() -> None:
    """Measure and print."""
    tables = Tables("Cost of the guard in whole programs")
    tables.table("Programs (aim: 1.02, gate: 1.05; entering, leaving, report included)")
    guarded: dict[str, dict[str, Cell]] = {}
    for name, make in PROGRAMS:
        cells = {**ratio(make(), tables.fewer(9, 2)), f"{LONG_S} s of it": longer(name, make(), tables)}
        tables.row(name, cells)
        guarded[name] = {"guard": str(cells["ratio"])}
    beside(tables, guarded)
    escalation(tables)
    tables.end()


if __name__ == "__main__":
    main()
