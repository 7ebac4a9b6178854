"""What there is to know of each overload that passes the ops layer: looked up once, kept for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from ..operations import Operation
from .compensation import Argument, loses_bumps, written_arguments
from .effects import row_of
from .flights import reads_nothing
from .torch_writes import silently_written

_without_functions: Final = torch._C.DisableTorchFunction
_NUMBERS: Final = {bool: torch.bool, int: torch.int64, float: torch.float64, complex: torch.complex128}


class Plan:
    """What there is to know of an overload. ``dull``: nothing of it concerns us."""

    __slots__ = ("call", "careful", "dull", "func", "lost", "name", "reads_nothing", "row", "rows", "silent")

    def __init__(self, func: Any) -> None:
        self.func = func
        self.call: Callable[..., Any] = func
        self.careful = True
        """It must not be called straight: its arguments may bring functions of the user's along."""
        self.name = str(func)
        self.row: Operation | None = None
        self.lost: tuple[Argument, ...] = ()
        self.silent: tuple[Argument, ...] = ()
        self.rows: dict[str, Operation] = {}
        """The row under the names that its findings may have."""
        if isinstance(func, torch._ops.OpOverload) and func.namespace == "aten":
            self.call = func._op
            self.row = row_of(self.name)
            self.lost = written_arguments(func) if loses_bumps(func) else ()
            self.silent = self.lost or silently_written(func, self.name)
            kinds = {str(one.type) for one in func._schema.arguments}
            self.careful = any("Tensor" in kind and "[]" in kind for kind in kinds)
        self.reads_nothing = reads_nothing(func)
        self.dull = self.row is None and not self.silent

    def as_told(self, name: str) -> Operation:
        """A row for policy: this operation as its finding names it."""
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = Operation(name, implicit=True)
        return row

    def run(self, types: Any, args: Any, kwargs: Any) -> Any:
        """The operation itself, unseen by function modes and ``__torch_function__``, as the call from C++ was."""
        if types or self.call is self.func:
            return self.func(*args, **kwargs)
        with _without_functions():
            try:
                return self.call(*args, **kwargs)
            except RuntimeError as error:
                again = self.with_tensors(args, error)
                if again is None:
                    raise
            return self.call(*again, **kwargs)

    def with_tensors(self, args: Sequence[Any], error: Exception) -> list[Any] | None:
        """The arguments once more with tensors for numbers; None where those were not the trouble.

        PyTorch hands a mode a number for a tensor that stands for one. Most operations take it back; the others refuse
        it before anything has run.
        """
        if "but instead found type" not in str(error):
            return None
        kinds = [str(one.type) for one in self.func._schema.arguments[: len(args)]]
        pairs = list(zip(args, kinds, strict=False))
        if not any(type(value) in _NUMBERS and kind == "Tensor" for value, kind in pairs):
            return None
        return [
            torch.tensor(value, dtype=_NUMBERS[type(value)]) if type(value) in _NUMBERS and kind == "Tensor" else value
            for value, kind in pairs
        ]
