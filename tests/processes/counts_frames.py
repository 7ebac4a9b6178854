"""Warns and logs from code that PyTorch calls, at every number of frames away, and prints which line each was put down to."""
from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import nn

FAR = range(1, 9)
LOG = logging.getLogger()


def shown(message: Any, category: Any, filename: str, line: int, *_: Any) -> None:
    print("warned", filename, line, str(message)[:60])


class Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print("logged", record.pathname, record.lineno, record.getMessage())


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        for far in FAR:
            warnings.warn(f"backward {far}", stacklevel=far)
            LOG.warning("backward %d", far, stacklevel=far)
        return gradient


class Moved(nn.Module):
    def _apply(self, function: Any, recurse: bool = True) -> Any:
        for far in FAR:
            warnings.warn(f"moved {far}", stacklevel=far)
        return super()._apply(function, recurse)

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        for far in FAR:
            warnings.warn(f"state {far}", stacklevel=far)
        super()._save_to_state_dict(*args, **kwargs)


class Rows(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        for far in FAR:
            warnings.warn(f"row {far}", stacklevel=far)
        return torch.zeros(1)


def main() -> None:
    warnings.simplefilter("always")
    warnings.showwarning = shown
    LOG.handlers = [Lines()]
    layer = nn.Linear(3, 3)
    layer.register_full_backward_hook(lambda *_: None)
    layer(torch.ones(2, 3)).sum().backward()  # PyTorch warns: no input needs a gradient
    x = torch.ones(2, requires_grad=True)
    Backward.apply(x).sum().backward()
    torch.autograd.backward(Backward.apply(x).sum())
    torch.autograd.grad(Backward.apply(x).sum(), x)
    nn.Sequential(Moved()).to(torch.float64)
    nn.Sequential(Moved()).state_dict()
    for _ in torch.utils.data.DataLoader(Rows()):
        pass
    print(float(torch.ones(1, requires_grad=True)))  # PyTorch warns in C, at the innermost frame
    warnings.warn_explicit("end", UserWarning, "end", 1)


if __name__ == "__main__":
    main()
