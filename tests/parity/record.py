"""What a program of the parity harness writes down: every value in a form that compares bit for bit.

Tensors and arrays become type, dtype, shape, strides, flags, version and their very bytes (so a NaN equals the same
NaN and ``-0.0`` is not ``0.0``). Nothing here imports the guard; reading happens where the program stands, so that
versions are those of that moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

PASSING = re.compile(r"0x[0-9a-fA-F]+|/tmp/tmp\w+|/tmp/torchinductor_\w+")
SHOWN_BYTES = 64


def plain_text(text: str) -> str:
    """``text`` without memory addresses and folders for a while, which differ from process to process."""
    return PASSING.sub("...", text)


def _bytes_of(raw: bytes) -> str:
    return raw.hex() if len(raw) <= SHOWN_BYTES else f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _version(tensor: torch.Tensor) -> int | str:
    return "inference" if tensor.is_inference() else tensor._version


def _contents(tensor: torch.Tensor) -> str:
    """The bytes of a plain tensor, read through a copy: neither the tensor nor its storage is touched."""
    if type(tensor) is not torch.Tensor and not isinstance(tensor, torch.nn.Parameter):
        return "not read"
    if tensor.device.type != "cpu" or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return "not read"
    with torch.no_grad():
        copied = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
        return _bytes_of(bytes(copied.view(torch.uint8).tolist()) if copied.numel() else b"")


def canonical(value: Any) -> Any:
    """``value`` as nested plain data that equals another run's if and only if the values are the same bit for bit."""
    if isinstance(value, torch.Tensor):
        return {
            "tensor": type(value).__name__,
            "dtype": str(value.dtype),
            "shape": list(value.shape),
            "stride": list(value.stride()),
            "requires_grad": value.requires_grad,
            "leaf": value.is_leaf,
            "grad_fn": type(value.grad_fn).__name__,
            "version": _version(value),
            "bytes": _contents(value),
        }
    if isinstance(value, np.ndarray):
        flags = value.flags
        return {
            "array": type(value).__name__,
            "dtype": str(value.dtype),
            "shape": list(value.shape),
            "strides": list(value.strides),
            "flags": [flags.writeable, flags.owndata, flags.c_contiguous, flags.f_contiguous],
            "base": type(value.base).__name__,
            "bytes": _bytes_of(value.tobytes()),
        }
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Mapping):
        return {plain_text(str(key)): canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain_text(repr(item)) for item in value)
    if value is None or isinstance(value, (bool, int, str)):
        return plain_text(value) if isinstance(value, str) else value
    return f"{type(value).__module__}.{type(value).__qualname__}: {plain_text(repr(value))}"


class Record:
    """The named values of one program, in the order in which they were noted."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def note(self, name: str, value: Any) -> None:
        """Write ``value`` down under ``name``; a second value of that name gets a number."""
        key, number = name, 2
        while key in self.values:
            key, number = f"{name}#{number}", number + 1
        self.values[key] = canonical(value)

    def module(self, name: str, module: torch.nn.Module) -> None:
        """Parameters, buffers and gradients of a module, with their versions."""
        for key, parameter in module.named_parameters():
            self.note(f"{name}.{key}", parameter)
            self.note(f"{name}.{key}.grad", parameter.grad)
        for key, buffer in module.named_buffers():
            self.note(f"{name}.{key}", buffer)

    def optimizer(self, name: str, optimizer: torch.optim.Optimizer) -> None:
        """The state of an optimizer, tensor by tensor."""
        self.note(name, optimizer.state_dict())

    @contextlib.contextmanager
    def error(self, name: str) -> Iterator[None]:
        """Run a block that fails: note the exception's type, text, causes and the lines of the user's own frames."""
        try:
            yield
        except BaseException as error:
            self.note(name, described(error))
        else:
            self.note(name, "no error")


def described(error: BaseException) -> dict[str, Any]:
    """An exception as plain data: the chain of types and texts, and the lines of this package's programs it passed."""
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None:
        chain.append(f"{type(current).__module__}.{type(current).__qualname__}: {plain_text(str(current))}")
        current = current.__cause__ or current.__context__
    here = str(Path(__file__).parent / "programs")
    lines: list[str] = []
    for frame in traceback.extract_tb(error.__traceback__):
        line = f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        if frame.filename.startswith(here) and line not in lines[-1:]:
            lines.append(line)
    return {"chain": chain, "lines": lines}
