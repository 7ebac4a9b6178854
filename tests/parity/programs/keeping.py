"""State that is saved, loaded, copied and seeded."""

from __future__ import annotations

import copy
import io
import pickle
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from parity.record import Record


def save_and_load(record: Record) -> None:
    """Files of `torch.save`: their bytes, and what comes back, mapped into memory or not."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.pt"
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
        record.note("size", path.stat().st_size)
        loaded = torch.load(path, mmap=True)
        model.load_state_dict(loaded["model"])
        optimizer.load_state_dict(loaded["optimizer"])
        record.note("loaded", torch.load(path, map_location="cpu", weights_only=True))
        with record.error("missing"):
            torch.load(Path(folder) / "none.pt")
        with record.error("mismatch"):
            nn.Linear(2, 2).load_state_dict(loaded["model"])
        with record.error("unexpected"):
            nn.Linear(3, 2, bias=False).load_state_dict(loaded["model"])
        del loaded
    shared = torch.arange(4.0)
    stream = io.BytesIO()
    torch.save([shared, shared[1:], nn.Parameter(shared)], stream)
    stream.seek(0)
    first, second, third = torch.load(stream, weights_only=False)
    first[1] = 9
    record.note("sharing kept", [first, second, third])
    record.module("model", model)
    record.optimizer("optimizer", optimizer)


def copies(record: Record) -> None:
    """Deep and shallow copies and pickles of tensors, modules, optimizers and generators."""
    base = torch.arange(6.0)
    view = base[2:4]
    deep, shallow = copy.deepcopy([base, view]), copy.copy(base)
    deep[0][2] = 40
    shallow[0] = -1
    record.note("deep", deep)
    record.note("base", base)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model(torch.ones(3, 2)).sum().backward()
    record.module("copied", copy.deepcopy(model))
    record.module("pickled", pickle.loads(pickle.dumps(model)))
    record.note("tensor", pickle.loads(pickle.dumps(base[::2])))
    with record.error("non-leaf"):
        copy.deepcopy(torch.ones(2, requires_grad=True) * 2)
    generator = torch.Generator().manual_seed(4)
    torch.rand(3, generator=generator)
    record.note("generator", torch.rand(2, generator=generator.clone_state()))
    record.note("array", pickle.loads(pickle.dumps(base.numpy())))


def random_states(record: Record) -> None:
    """Random numbers of PyTorch, NumPy and Python: the states before, between and after reads and conversions."""
    state = torch.get_rng_state()
    noise = torch.rand(3)
    noise.numpy()[0] = noise[1].item()
    record.note("noise", noise)
    with torch.random.fork_rng():
        record.note("forked", torch.randn(2).tolist())
    torch.set_rng_state(state)
    record.note("again", torch.rand(3))
    generator = torch.Generator()
    generator.manual_seed(7)
    record.note("permutation", torch.randperm(9, generator=generator))
    record.note("generator", generator.get_state())
    record.note("initial seed", torch.initial_seed())
    record.note("dropout", nn.functional.dropout(torch.ones(8), 0.5))
    record.note("numpy", np.random.default_rng(3).normal(size=3))
    record.note("legacy", np.random.rand(2))  # noqa: NPY002
    record.note("python", random.random())


def deterministic(record: Record) -> None:
    """Deterministic mode: filled empty memory, ordered sums, and its switches left as they were."""
    torch.use_deterministic_algorithms(True)
    try:
        record.note("empty", torch.empty(3))
        record.note("resized", torch.ones(1).resize_(3))
        summed = torch.zeros(3).index_add_(0, torch.tensor([0, 0, 2]), torch.ones(3))
        record.note("summed", summed)
        counted = torch.ones(3).put_(torch.tensor([1]), torch.tensor([5.0]), accumulate=True)
        record.note("counted", counted)
    finally:
        torch.use_deterministic_algorithms(False)
    record.note("mode", [torch.are_deterministic_algorithms_enabled(), torch.get_deterministic_debug_mode()])
    record.note("threads", [torch.get_num_threads(), torch.is_grad_enabled(), str(torch.get_default_dtype())])


PROGRAMS = (save_and_load, copies, random_states, deterministic)
