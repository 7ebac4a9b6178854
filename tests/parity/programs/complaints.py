"""Warnings and refusals of PyTorch, NumPy and the program itself: text, category and line are the user's to read."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from parity.record import Record


def conversions_that_warn(record: Record) -> None:
    """Conversions that make PyTorch or NumPy warn, each twice: what warns once per process does so at its line."""
    for _ in range(2):
        frozen = np.ones(3, dtype=np.float32)
        frozen.flags.writeable = False
        record.note("read-only", torch.from_numpy(frozen))
        record.note("read-only as", torch.as_tensor(frozen))
        record.note("copied", torch.tensor(torch.ones(2)))
        record.note("arrays", torch.tensor([np.ones(2), np.zeros(2)]))
        record.note("array of", np.array(torch.ones(2)))
        record.note("bytes", torch.frombuffer(b"abcd", dtype=torch.uint8))
        record.note("complex", torch.tensor(1 + 2j).to(torch.float32))
        record.note("non-leaf", (torch.ones(1, requires_grad=True) * 1).grad)
        scalar = torch.tensor(2.0, requires_grad=True)
        record.note("float", float(scalar))
        record.note("type", torch.ones(2).type(torch.int32))
        out = torch.empty(1)
        record.note("resized out", torch.nonzero(torch.ones(2), out=torch.empty(5, 5, dtype=torch.long)))
        record.note("out", torch.add(torch.ones(2), 1, out=out))


def default_filter(record: Record) -> None:
    """Under Python's default filter a warning is told once per line: two lines tell twice, a loop once."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        warnings.simplefilter("default")
        for _ in range(3):
            np.array(torch.ones(1))
        np.array(torch.ones(1))
        torch.ones(2, 3).T.tolist()
        torch.ones(3).T.tolist()
        torch.ones(3).T.tolist()
    record.note("seen", [(w.category.__name__, str(w.message), w.lineno, w.filename == __file__) for w in seen])
    record.note("registry", sorted(str(key) for key in globals().get("__warningregistry__", {})))


def warnings_as_errors(record: Record) -> None:
    """With warnings turned to errors, the call that warns raises, and nothing else does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record.error("np.array"):
            np.array(torch.ones(1))
        with record.error("copy"):
            torch.tensor(torch.ones(2))
        with record.error("T"):
            torch.ones(3).T
        tensor = torch.ones(4)
        tensor.numpy()[0] = 3
        record.note("quiet", [tensor.sum().item(), float(tensor[0]), bool(tensor[1] > 0), tensor.tolist()])


def refusals(record: Record) -> None:
    """Conversions that PyTorch refuses: the exception passes unchanged, NumPy's retries included."""
    wanting = torch.ones(2, requires_grad=True)
    for name, call in {
        "numpy": wanting.numpy,
        "asarray": lambda: np.asarray(wanting),
        "np.array": lambda: np.array(wanting),
        "no copy": lambda: np.array(torch.ones(2), copy=False),
        "item": lambda: torch.ones(2).item(),
        "float": lambda: float(torch.ones(2)),
        "bool": lambda: bool(torch.ones(2)),
        "index": lambda: [1, 2][torch.tensor(0.5)],  # type: ignore[call-overload]
        "empty bool": lambda: bool(torch.ones(0)),
        "complex": lambda: float(torch.tensor(1 + 2j)),
        "meta": lambda: torch.empty(2, device="meta").numpy(),
        "meta item": lambda: torch.empty((), device="meta").item(),
        "sparse": lambda: torch.eye(2).to_sparse().numpy(),
        "conjugate": lambda: torch.ones(2, dtype=torch.complex64).conj().numpy(),
        "bfloat16": lambda: torch.ones(2, dtype=torch.bfloat16).numpy(),
        "negative": lambda: torch.from_numpy(np.arange(3)[::-1]),
        "objects": lambda: torch.from_numpy(np.array([object()])),
        "strings": lambda: torch.from_numpy(np.array(["a"])),
        "uint ok": lambda: torch.from_numpy(np.array([1], dtype=np.uint16)),
        "not an array": lambda: torch.from_numpy([1.0]),
        "swapped": lambda: torch.from_numpy(np.ones(2, dtype=">f4")),
        "contains": lambda: "a" in torch.ones(2),
        "cuda": lambda: torch.ones(2).cuda(),
        "to": lambda: torch.ones(2).to("nowhere"),
        "pin": lambda: torch.ones(2).pin_memory(),
        "dlpack": lambda: np.from_dlpack(wanting),
        "arguments": lambda: torch.ones(2).numpy(1),  # type: ignore[arg-type]
        "frombuffer": lambda: torch.frombuffer(bytearray(), dtype=torch.uint8),
        "equal": lambda: torch.equal(torch.ones(2), 3),  # type: ignore[arg-type]
        "allclose": lambda: torch.allclose(torch.ones(2), torch.ones(2, dtype=torch.float64)),
        "copy_": lambda: torch.ones(2).copy_(torch.ones(3)),
    }.items():
        with record.error(f"{name}: error"):
            record.note(name, call())


class OwnError(Exception):
    """An exception of the program's own."""


def own_errors(record: Record) -> None:
    """The program's own exceptions, raised inside torch's call-backs, come out with their causes."""

    class Strange:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise OwnError("array")

        def __index__(self) -> int:
            raise OwnError("index")

    def hook(grad: torch.Tensor) -> torch.Tensor:
        raise OwnError("hook") from KeyError("cause")

    with record.error("array"):
        torch.as_tensor(Strange())
    with record.error("index"):
        torch.ones(3)[Strange()]  # type: ignore[index]
    leaf = torch.ones(1, requires_grad=True)
    leaf.register_hook(hook)
    with record.error("hook"):
        leaf.sum().backward()
    optimizer = torch.optim.SGD([leaf], lr=0.1)
    with record.error("closure"):
        optimizer.step(lambda: (_ for _ in ()).throw(OwnError("closure")))  # type: ignore[arg-type]


def printed(record: Record) -> None:
    """What tensors look like in print, repr, format and f-strings, under print options and for odd contents."""
    values = [
        torch.tensor([1.5, float("nan"), float("inf"), -0.0]),
        torch.arange(2000),
        torch.ones(2, 2, requires_grad=True) * 2,
        torch.tensor(True),
        torch.tensor([1 + 2j]),
        torch.zeros(0, 3),
        torch.eye(2).to_sparse(),
        torch.empty(2, device="meta"),
        torch.nn.Parameter(torch.ones(1)),
    ]
    for value in values:
        record.note("repr", repr(value))
        record.note("str", f"{value}")
        print(value)
    torch.set_printoptions(precision=2, sci_mode=True)
    try:
        record.note("options", str(values[0]))
    finally:
        torch.set_printoptions(profile="default")
    record.note("format", f"{torch.tensor(2.5):.2f} {torch.tensor(7):>4d} {torch.tensor(3.0)}")
    record.note("percent", "%d %.1f" % (torch.tensor(3), torch.tensor(2.5)))  # noqa: UP031
    with record.error("format"):
        f"{torch.ones(2):.2f}"


PROGRAMS = (conversions_that_warn, default_filter, warnings_as_errors, refusals, own_errors, printed)
