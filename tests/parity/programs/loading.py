"""DataLoaders with no workers, spawned and forked ones."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

if TYPE_CHECKING:
    from parity.record import Record


class Images(Dataset[Any]):
    """Pictures held as one array; the functions that convert them are attributes, so they must pickle."""

    def __init__(self) -> None:
        self.images = np.arange(48, dtype=np.float32).reshape(12, 4)
        self.convert = torch.from_numpy
        self.read = torch.Tensor.item

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.convert(self.images[index])
        noise = torch.rand(())
        image.mul_(0.5)
        return image + noise, int(self.read(image.sum())), index


class Stream(IterableDataset[Any]):
    """A stream that is told apart by worker."""

    def __iter__(self) -> Any:
        info = get_worker_info()
        worker = info.id if info else -1
        for number in range(3):
            yield torch.tensor([worker, number])


def _failing(index: int) -> Any:
    raise KeyError(f"sample {index}")


class Broken(Dataset[Any]):
    """A dataset whose second sample cannot be read."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return _failing(index) if index == 1 else torch.ones(1)


def _epochs(record: Record, loader: DataLoader[Any], epochs: int = 2) -> None:
    for _ in range(epochs):
        for batch in loader:
            record.note("batch", batch)


def no_workers(record: Record) -> None:
    """Loading in the process itself: shuffling, a sampler, no batching at all, and a failing sample."""
    generator = torch.Generator().manual_seed(5)
    _epochs(record, DataLoader(Images(), batch_size=5, shuffle=True, generator=generator))
    _epochs(record, DataLoader(Images(), batch_size=None), epochs=1)
    _epochs(record, DataLoader(TensorDataset(torch.arange(4.0), torch.ones(4)), batch_size=2, drop_last=True))
    _epochs(record, DataLoader(Stream(), batch_size=2))
    with record.error("broken"):
        _epochs(record, DataLoader(Broken(), batch_size=2))
    record.note("left", torch.get_rng_state())


def _with_workers(record: Record, context: str) -> None:
    loader = DataLoader(
        Images(), batch_size=4, shuffle=True, num_workers=2, multiprocessing_context=context, persistent_workers=True
    )
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for inputs, target, index in loader:
        loss = (model(inputs).squeeze(1) - target).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        record.note("index", index)
        record.note("inputs", inputs)
        record.note("loss", loss)
    record.module("model", model)
    record.note("left", torch.get_rng_state())


def spawned(record: Record) -> None:
    """Two spawned workers: dataset and its functions are pickled."""
    _with_workers(record, "spawn")


def forked(record: Record) -> None:
    """Two forked workers: they inherit the guard and must work on undisturbed."""
    _with_workers(record, "fork")
    with record.error("broken"):
        _epochs(record, DataLoader(Broken(), batch_size=2, num_workers=1, multiprocessing_context="fork"))


def _doubled(values: torch.Tensor, results: Any) -> None:
    values.mul_(2)
    results.put(values.sum().item())


def shared_with_child(record: Record) -> None:
    """A tensor in shared memory that a child writes to, and a queue of tensors."""
    context = multiprocessing.get_context("fork")
    values = torch.arange(4.0).share_memory_()
    results = context.Queue()
    child = context.Process(target=_doubled, args=(values, results))
    child.start()
    record.note("result", results.get())
    child.join()
    record.note("values", values)
    record.note("exit code", child.exitcode)


PROGRAMS = (no_workers, spawned, forked, shared_with_child)
