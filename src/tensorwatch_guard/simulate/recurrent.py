"""The fused cells of LSTM and GRU: PyTorch takes them for every CUDA tensor, and has no CPU kernel for them.

Formulas of ``aten/src/ATen/native/cuda/RNN.cu``. The unfused CPU path adds in another order, so results agree
with a CPU run to the last digits only.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .tensors import to_device, to_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from .kernels import Kernel

Some = Tensor | None


def _on_twins(function: Callable[..., tuple[Some, ...]]) -> Kernel:
    """A kernel that runs plain arithmetic on the twins and lifts all results."""

    @wraps(function)
    def kernel(*args: Any) -> tuple[Some, ...]:
        index = next(value.get_device() for value in args if isinstance(value, Tensor))
        with torch._C.DisableTorchFunction():
            results = function(*(to_host(value) if isinstance(value, Tensor) else value for value in args))
        return tuple(None if result is None else to_device(result, index) for result in results)

    return kernel


def _gates(input_gates: Tensor, hidden_gates: Tensor, input_bias: Some, hidden_bias: Some) -> Tensor:
    if input_bias is None or hidden_bias is None:
        return input_gates + hidden_gates
    return (input_gates + input_bias) + (hidden_gates + hidden_bias)


def _lstm(
    input_gates: Tensor, hidden_gates: Tensor, cx: Tensor, input_bias: Some = None, hidden_bias: Some = None
) -> tuple[Some, ...]:
    i, f, g, o = _gates(input_gates, hidden_gates, input_bias, hidden_bias).chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat([i, f, g, o], 1)


def _lstm_backward(
    grad_hy: Some, grad_cy: Some, cx: Tensor, cy: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Some, ...]:
    if grad_hy is None and grad_cy is None:
        return None, None, None
    i, f, g, o = workspace.chunk(4, 1)
    squashed = cy.tanh()
    from_output = torch.zeros_like(cy) if grad_hy is None else grad_hy
    grad_cell = from_output * o * (1 - squashed * squashed)
    if grad_cy is not None:
        grad_cell = grad_cell + grad_cy
    grads = [
        grad_cell * g * i * (1 - i),
        grad_cell * cx * f * (1 - f),
        grad_cell * i * (1 - g * g),
        from_output * squashed * o * (1 - o),
    ]
    gates = torch.cat(grads, 1)
    return gates, grad_cell * f, gates.sum(0) if has_bias else None


def _gru(
    input_gates: Tensor, hidden_gates: Tensor, hx: Tensor, input_bias: Some = None, hidden_bias: Some = None
) -> tuple[Some, ...]:
    from_input = input_gates if input_bias is None else input_gates + input_bias
    from_hidden = hidden_gates if hidden_bias is None else hidden_gates + hidden_bias
    input_r, input_z, input_n = from_input.chunk(3, 1)
    hidden_r, hidden_z, hidden_n = from_hidden.chunk(3, 1)
    r, z = (input_r + hidden_r).sigmoid(), (input_z + hidden_z).sigmoid()
    n = (input_n + r * hidden_n).tanh()
    return n + z * (hx - n), torch.cat([r, z, n, hx, hidden_n], 1)


def _gru_backward(grad_hy: Tensor, workspace: Tensor, has_bias: bool) -> tuple[Some, ...]:
    r, z, n, hx, hidden_n = workspace.chunk(5, 1)
    grad_n = grad_hy * (1 - z) * (1 - n * n)
    grad_z = grad_hy * (hx - n) * z * (1 - z)
    grad_r = grad_n * hidden_n * r * (1 - r)
    from_input = torch.cat([grad_r, grad_z, grad_n], 1)
    from_hidden = torch.cat([grad_r, grad_z, grad_n * r], 1)
    if not has_bias:
        return from_input, from_hidden, grad_hy * z, None, None
    return from_input, from_hidden, grad_hy * z, from_input.sum(0), from_hidden.sum(0)


def kernels() -> dict[str, Kernel]:
    """By overload name."""
    return {
        "aten::_thnn_fused_lstm_cell": _on_twins(_lstm),
        "aten::_thnn_fused_lstm_cell_backward_impl": _on_twins(_lstm_backward),
        "aten::_thnn_fused_gru_cell": _on_twins(_gru),
        "aten::_thnn_fused_gru_cell_backward": _on_twins(_gru_backward),
    }
