"""Memory that tensors and arrays share: every way into it, and writes from both sides, with the versions they leave."""

from __future__ import annotations

import array
import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from parity.record import Record


def routes(record: Record) -> None:
    """Each way from array to tensor and back: what shares, with which flags and versions, and who dies with whom."""
    single, double = np.arange(6, dtype=np.float32), np.arange(6.0)
    made = {
        "from_numpy": torch.from_numpy(single),
        "as_tensor": torch.as_tensor(single),
        "as_tensor64": torch.as_tensor(double, dtype=torch.float32),
        "asarray": torch.asarray(single),
        "tensor": torch.tensor(single),
        "Tensor": torch.Tensor(single),
        "FloatTensor": torch.FloatTensor(single),
        "Tensor64": torch.Tensor(double),
        "from_dlpack": torch.from_dlpack(single),
        "frombuffer": torch.frombuffer(array.array("f", [1, 2, 3]), dtype=torch.float32),
        "bytearray": torch.asarray(bytearray(b"abcd"), dtype=torch.uint8),
        "parameter": nn.Parameter(torch.from_numpy(single)),
        "strided": torch.from_numpy(double[::2]),
        "broadcast": torch.from_numpy(np.ascontiguousarray(np.broadcast_to(single, (2, 6)))),
        "scalar": torch.as_tensor(np.float64(3)),
        "empty": torch.from_numpy(np.zeros((0, 3))),
    }
    single[1] = 70.0
    record.note("made", made)
    tensor = torch.arange(6.0)
    taken = {
        "numpy": tensor.numpy(),
        "force": tensor.numpy(force=True),
        "asarray": np.asarray(tensor),
        "asarray64": np.asarray(tensor, dtype=np.float64),
        "array": np.array(tensor),
        "dlpack": np.from_dlpack(tensor),
        "reshape": np.reshape(tensor, (2, 3)),
        "ravel": np.ravel(tensor),
        "slice": tensor[1::2].numpy(),
        "detached": tensor.clone().requires_grad_().detach().numpy(),
        "transposed": tensor.reshape(2, 3).t().numpy(),
        "add": np.add(tensor, 1),
    }
    tensor[3] = -5
    record.note("taken", taken)
    record.note("tensor", tensor)
    record.note("resizable", tensor.untyped_storage().resizable())


def rewritten_input(record: Record) -> None:
    """One shared buffer that is refilled for every step of a training loop."""
    buffer = np.zeros((4, 3), dtype=np.float32)
    inputs = torch.from_numpy(buffer)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    seen = []
    for _ in range(5):
        buffer[:] = np.random.rand(4, 3)  # noqa: NPY002
        optimizer.zero_grad()
        loss = model(inputs).mean()
        loss.backward()
        optimizer.step()
        seen.append(inputs._version)
        buffer *= 2
    record.note("versions", seen)
    record.note("inputs", inputs)
    record.module("model", model)


def both_sides(record: Record) -> None:
    """Writes through either side, through views of views, by functions with ``out=``, and a swap of rows."""
    array_side = np.arange(12.0).reshape(3, 4)
    tensor_side = torch.from_numpy(array_side)
    row, column = array_side[1], tensor_side[:, 2]
    row += 10
    column.mul_(2)
    np.add(array_side, 1, out=array_side)
    torch.sub(tensor_side, 1, out=tensor_side)
    tensor_side[[0, 2]] = tensor_side[[2, 0]]
    np.copyto(array_side[0], 7)
    array_side[1:].sort(axis=1)
    np.random.default_rng(0).shuffle(array_side)
    torch.from_numpy(array_side.T).clamp_(max=9)
    array_side.flat[3] = -1
    np.put(array_side, [5], [99])
    record.note("array", array_side)
    record.note("tensor", tensor_side)
    record.note("views", [row, column])


def snapshots(record: Record) -> None:
    """Weights, statistics and checkpoints kept as NumPy while training goes on."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history, best = [], {name: value.numpy() for name, value in model.state_dict().items()}
    safe = copy.deepcopy(model.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).pow(2).mean().backward()
        optimizer.step()
        history.append(model[0].weight.detach().numpy())
        best["0.bias"] *= 0.5
    record.note("history", history)
    record.note("best", best)
    model.load_state_dict(safe)
    record.module("model", model)
    source = np.full((4, 3), 0.5, dtype=np.float32)
    given = {**model.state_dict(), "0.weight": torch.from_numpy(source)}
    record.note("loaded", repr(model.load_state_dict(given, assign=True)))
    source[:] = 5
    record.module("model", model)


def severed(record: Record) -> None:
    """Operations that end a sharing: the dtype move, ``.data =``, ``set_``, ``share_memory_``, ``resize_``."""
    model = nn.Linear(2, 2)
    held = model.weight.detach().numpy().copy()
    alias = model.weight.detach().numpy()
    model.double()
    model.weight.data.fill_(3)
    record.note("severed", [held, alias, model.weight])
    tensor = torch.zeros(4)
    kept = tensor.numpy()
    tensor.data = torch.ones(4)
    record.note("replaced", [kept, tensor])
    target = torch.zeros(2)
    target.set_(torch.arange(4.0)[1:3])
    record.note("set", target)
    shared = torch.arange(3.0).share_memory_()
    record.note("shared", [shared, shared.is_shared()])
    grown = torch.zeros(2).resize_(5)
    grown.zero_()
    record.note("grown", grown)
    with record.error("resize"):
        torch.from_numpy(np.zeros(2)).resize_(10_000)


def files(record: Record) -> None:
    """Memmaps, files read into shared memory, and tensors over a mapped file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block.bin"
        path.write_bytes(bytes(range(64)))
        frame = np.zeros(64, dtype=np.uint8)
        pixels = torch.from_numpy(frame)
        with path.open("rb", buffering=0) as stream:
            record.note("read", stream.readinto(frame))
        record.note("pixels", pixels)
        mapped = np.memmap(path, dtype=np.uint8, mode="r+")
        view = torch.from_numpy(mapped)
        view[0] = 200
        mapped.flush()
        record.note("first byte", path.read_bytes()[0])
        copied = np.memmap(path, dtype=np.uint8, mode="c")
        torch.from_numpy(copied)[1] = 9
        record.note("copy on write", path.read_bytes()[1])
        over = torch.from_file(str(path), shared=True, size=64, dtype=torch.uint8)
        over[2] = 77
        record.note("over", [over, view])
        np.save(Path(folder) / "kept.npy", view)
        record.note("kept", np.load(Path(folder) / "kept.npy"))
        del mapped, view, copied, over


PROGRAMS = (routes, rewritten_input, both_sides, snapshots, severed, files)
