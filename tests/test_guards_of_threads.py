"""Guards come and go in one thread while another trains, imports, or is on its way out."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from tensorwatch_guard import GuardViolation, guard


class Held(torch.autograd.Function):
    """Its backward lasts until ``go`` is set."""

    inside, go = threading.Event(), threading.Event()

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        Held.inside.set()
        Held.go.wait(60)
        return gradient


def test_a_backward_outlives_the_guard_it_began_under() -> None:
    x, errors = torch.ones(3, requires_grad=True), list[BaseException]()

    def train() -> None:
        try:
            Held.apply(x).sum().backward()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    with guard(report=False):
        thread.start()
        Held.inside.wait(60)
    with guard(report=False):
        Held.go.set()
        thread.join()
    assert not errors
    assert x.grad is not None


IMPORTS_DYNAMO = """
import sys, threading, torch
from tensorwatch_guard import guard
from tensorwatch_guard.running import RUNNING

begun, go = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("torch._dynamo."):
            sys.meta_path.remove(self)
            begun.set()
            go.wait(60)

assert "torch._dynamo" not in sys.modules
sys.meta_path.insert(0, Slow())
g = guard(report=False)
g.start()
thread = threading.Thread(target=__import__, args=("torch._dynamo",))
thread.start()
begun.wait(60)
g.stop()
go.set()
thread.join()
assert not RUNNING.patched, RUNNING.patched
parameter = torch.nn.Parameter(torch.zeros(3))
optimizer = torch.optim.SGD([parameter], lr=0.1)
with guard(report=False) as g:
    for _ in range(3):
        parameter.sum().backward()
        optimizer.step()
print(g.report.run.steps)
"""


def test_a_guard_that_is_left_while_dynamo_is_imported_leaves_nothing(measured: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_DYNAMO], capture_output=True, text=True, env=measured, check=False, timeout=300
    )
    assert (done.stdout, done.returncode) == ("3\n", 0), done.stderr


def test_every_thread_that_enters_is_watched_by_the_ops_layer() -> None:
    g, found = guard(ops=True, report=False), list[int]()
    ready, go = threading.Event(), threading.Event()

    def join() -> None:
        ready.set()
        go.wait(60)
        with g:
            found.append(len(_get_current_dispatch_mode_stack()))
        found.append(len(_get_current_dispatch_mode_stack()))

    thread = threading.Thread(target=join)
    thread.start()  # before the guard is opened: threads that start while it is are watched anyway
    ready.wait(60)
    with g:
        go.set()
        thread.join()
        assert len(_get_current_dispatch_mode_stack()) == 1
    assert found == [1, 0]
    assert not _get_current_dispatch_mode_stack()


def test_a_violation_in_an_optimizers_step_counts_the_step() -> None:
    layer = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    kept = []
    with guard(mutation="error", report=False) as g:
        for _ in range(3):
            kept.append(layer.weight.detach().numpy())
            layer(torch.ones(2, 4)).sum().backward()
            with pytest.raises(GuardViolation):
                optimizer.step()
    assert g.report.run.steps == 3


def test_a_backward_that_fails_in_a_closure_leaves_the_steps_reads_what_they_are() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no")

    def closure() -> float:
        with pytest.raises(RuntimeError):
            Fails.apply(parameter * 1).sum().backward()
        parameter.grad = torch.ones(3)
        return 0.0

    with guard(report=False) as g:
        for _ in range(5):
            optimizer.step(closure)
    (read,) = g.report.reads
    assert (read.count, read.details["of"]) == (5, "an optimizer's step counts")
