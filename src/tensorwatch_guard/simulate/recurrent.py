"""LSTM and GRU: whole layers as on the CPU where that can be, and else the fused cells that PyTorch takes for CUDA.

A GPU runs a whole LSTM layer as one operation of cuDNN; here it is oneDNN's, the one that the CPU runs, with
the same results. The fused cells have no CPU kernel.

Formulas of ``aten/src/ATen/native/cuda/RNN.cu``. The unfused CPU path adds in another order, so results agree
with a CPU run to the last digits only.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from .tensors import to_device, to_host

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .kernels import Kernel

Some = Tensor | None
_aten: Final = torch.ops.aten
_LSTM: Final = 2
"""``ideep::rnn_kind`` of an LSTM."""


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


def _lstm_layers(
    first: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM in the steps that PyTorch takes on the CPU (``mkldnn/RNN.cpp``), of operations that autograd knows."""
    directions, each = 1 + bidirectional, 2 + 2 * has_biases
    layer_input = (first.transpose(0, 1) if batch_first else first).contiguous()
    hs, cs = hx[0].contiguous(), hx[1].contiguous()
    last_h, last_c = [], []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            weights = list(params[place * each : (place + 1) * each])
            if not has_biases:
                weights += [weights[0].new_zeros(weights[0].size(0))] * 2
            output, h, c, _ = _aten.mkldnn_rnn_layer.default(
                layer_input, *weights, hs[place], cs[place], direction == 1, [], _LSTM, hs.size(-1), num_layers,
                has_biases, bidirectional, batch_first, train,
            )  # fmt: skip
            outputs.append(output)
            last_h.append(h)
            last_c.append(c)
        layer_input = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        if dropout and train and layer < num_layers - 1:
            layer_input = torch.dropout(layer_input, dropout, train)
    result = layer_input.transpose(0, 1) if batch_first else layer_input
    return result, torch.stack(last_h), torch.stack(last_c)


def _whole_layers(first: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], *options: Any) -> bool:
    """Where the CPU takes oneDNN: plain float32, all in one place, no projections."""
    has_biases, num_layers, _, _, bidirectional, _ = options
    if not torch.backends.mkldnn.is_available() or not first.numel():
        return False
    if len(params) != num_layers * (1 + bidirectional) * (2 + 2 * has_biases):
        return False
    return all(
        tensor.dtype is torch.float32 and tensor.device == first.device for tensor in (first, *hx, *params)
    )


def _as_cudnn(overload: Any, whole: Kernel | None = None) -> Kernel:
    """A recurrent layer, put together where autograd stands.

    Under autocast cuDNN takes everything in the lower precision; the smaller operations would choose one by one.
    """

    def cast(value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, (list, tuple)):
            return [cast(item, dtype) for item in value]
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    # Not decompose(): that takes the Python decomposition, which looks at less, once something has imported it.
    composite = partial(overload._op_dk, torch._C.DispatchKey.CompositeImplicitAutograd)

    def layer(*args: Any) -> Any:
        if torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
            with torch.autocast("cuda", enabled=False):
                return composite(*(cast(value, dtype) for value in args))
        if whole is not None and _whole_layers(*args):
            return whole(*args)
        return composite(*args)

    return layer


def composites() -> dict[str, Kernel]:
    """Whole recurrent layers, by overload name: to be put where autograd stands."""
    layers = {
        name: _as_cudnn(_aten_overload(name))
        for base in ("lstm", "gru", "rnn_tanh", "rnn_relu")
        for name in (f"{base}.input", f"{base}.data")
    }
    layers["lstm.input"] = _as_cudnn(_aten.lstm.input, _lstm_layers)
    return {f"aten::{name}": kernel for name, kernel in layers.items()}


def _aten_overload(name: str) -> Any:
    base, _, overload = name.partition(".")
    return getattr(getattr(_aten, base), overload)


def kernels() -> dict[str, Kernel]:
    """By overload name."""
    return {
        "aten::_thnn_fused_lstm_cell": _on_twins(_lstm),
        "aten::_thnn_fused_lstm_cell_backward_impl": _on_twins(_lstm_backward),
        "aten::_thnn_fused_gru_cell": _on_twins(_gru),
        "aten::_thnn_fused_gru_cell_backward": _on_twins(_gru_backward),
    }
