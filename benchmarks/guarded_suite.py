"""What ``pytest --tensorwatch`` costs on a suite of 500 small torch tests.

``python benchmarks/guarded_suite.py [ROUNDS]`` writes the suite into a temporary folder, runs it bare and guarded in turn,
each time in a process of its own, and prints medians of the CPU time of the whole process (which other work on the machine
disturbs least) and of pytest's own figure for the tests.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = """
import numpy as np
import pytest
import torch
from torch import nn

torch.set_num_threads(1)

def model(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

@pytest.mark.parametrize("seed", range(125))
def test_learns(seed):
    net = model(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = torch.randn(32, 16), torch.randint(0, 4, (32,))
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]

@pytest.mark.parametrize("seed", range(125))
def test_shapes(seed):
    out = model(seed)(torch.randn(8, 16))
    assert out.shape == (8, 4)
    assert torch.isfinite(out).all()

@pytest.mark.parametrize("seed", range(125))
def test_numpy_agrees(seed):
    torch.manual_seed(seed)
    a, b = torch.randn(20, 20), torch.randn(20, 20)
    assert np.allclose((a @ b).numpy(), a.numpy() @ b.numpy(), atol=1e-4)

@pytest.mark.parametrize("seed", range(125))
def test_state_dict_round_trip(seed, tmp_path):
    net = model(seed)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other = model(seed + 1)
    other.load_state_dict(torch.load(tmp_path / "net.pt"))
    for one, two in zip(net.parameters(), other.parameters()):
        assert torch.equal(one, two)
"""
SOURCES = str(Path(__file__).resolve().parent.parent / "src")


def run(folder: str, *options: str) -> tuple[float, float]:
    """CPU seconds of the process, and pytest's seconds for the tests."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCES}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *plugin(), *options]
    before = os.times()
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    after = os.times()
    found = re.search(r"500 passed.* in ([0-9.]+)s", done.stdout)
    if found is None:
        sys.exit(done.stdout + done.stderr)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, float(found[1])


def plugin() -> list[str]:
    """The plugin by its module, where it is not installed."""
    from importlib.metadata import entry_points

    there = any(point.name == "tensorwatch_guard" for point in entry_points(group="pytest11"))
    return [] if there else ["-p", "tensorwatch_guard.pytest_plugin"]


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    figures: dict[str, list[tuple[float, float]]] = {"bare": [], "--tensorwatch": []}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_small.py").write_text(SUITE)
        for _ in range(rounds):
            for name, found in figures.items():
                found.append(run(folder, *([] if name == "bare" else [name])))
    for column, what in enumerate(("CPU of the process", "pytest's own time")):
        bare, guarded = (statistics.median(one[column] for one in figures[name]) for name in figures)
        pairs = zip(figures["bare"], figures["--tensorwatch"], strict=True)
        ratio = statistics.median(g[column] / b[column] for b, g in pairs)
        print(f"{what:<20} bare {bare:6.2f} s   guarded {guarded:6.2f} s   ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
