"""Several threads, coroutines and generators in one training program."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.record import Record


def workers(record: Record) -> None:
    """Threads that train models of their own, each from its own generator; results are put in order."""

    def train(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        weight = torch.rand(3, generator=generator).requires_grad_()
        optimizer = torch.optim.Adam([weight], lr=0.1)
        losses = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = (weight * torch.rand(3, generator=generator)).sum().pow(2)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    with ThreadPoolExecutor(3) as pool:
        record.note("losses", list(pool.map(train, range(6))))


def producer(record: Record) -> None:
    """A thread that fills shared blocks, handed over through a queue."""
    blocks: queue.Queue[torch.Tensor | None] = queue.Queue(maxsize=1)
    taken = threading.Semaphore(1)
    block = np.zeros(1024, dtype=np.float32)

    def produce() -> None:
        for number in range(5):
            taken.acquire()
            block[:] = number
            blocks.put(torch.from_numpy(block))
        blocks.put(None)

    thread = threading.Thread(target=produce)
    thread.start()
    sums = []
    while (tensor := blocks.get()) is not None:
        sums.append(tensor.sum().item())
        taken.release()
    thread.join()
    record.note("sums", sums)


def backward_in_threads(record: Record) -> None:
    """Backward on another thread than forward, and grad mode that each thread has for itself."""
    model = nn.Linear(3, 1)
    losses = [model(torch.full((1, 3), float(number))).sum() for number in range(3)]
    modes: list[bool] = []

    def run(loss: torch.Tensor) -> None:
        modes.append(torch.is_grad_enabled())
        loss.backward()

    with torch.no_grad():
        for loss in losses:
            thread = threading.Thread(target=run, args=(loss,))
            thread.start()
            thread.join()
    record.note("modes", modes)
    record.module("model", model)


def coroutines(record: Record) -> None:
    """Coroutines and generators that convert, read and write between their turns; context variables stay theirs."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    buffer = np.zeros(4)
    order: list[float] = []

    async def step(number: int) -> float:
        variable.set(number)
        shared = torch.from_numpy(buffer)
        await asyncio.sleep(0)
        buffer[number] += number
        await asyncio.sleep(0)
        order.append(shared.sum().item())
        return variable.get() + float(shared[number])

    async def main() -> list[float]:
        return list(await asyncio.gather(*(step(number) for number in range(4))))

    record.note("results", asyncio.run(main()))
    record.note("order", order)

    def batches() -> Iterator[torch.Tensor]:
        try:
            for number in range(3):
                buffer[:] = number
                yield torch.from_numpy(buffer)
        finally:
            order.append(-1.0)

    record.note("means", [batch.mean().item() for batch in batches()])
    running = batches()
    next(running)
    running.close()
    record.note("order", order)


def deep(record: Record) -> None:
    """Recursion to the limit ends at the same depth, give or take what one watched call needs; limits stay."""

    def down(depth: int) -> int:
        return depth if depth == 0 else down(depth - 1)

    record.note("reached", down(sys.getrecursionlimit() - 200))
    with record.error("endless"):
        endless(torch.ones(()))
    record.note("after", torch.ones(1).item())
    record.note("limit", sys.getrecursionlimit())


def endless(value: torch.Tensor) -> float:
    """Call itself without end."""
    return endless(value) + 1


PROGRAMS = (workers, producer, backward_in_threads, coroutines, deep)
