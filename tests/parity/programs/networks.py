"""Networks of the usual kinds: convolutions with BatchNorm, recurrent nets, a transformer under autocast, hooks."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

if TYPE_CHECKING:
    from parity.record import Record


def cnn_batchnorm(record: Record) -> None:
    """Convolutions and BatchNorm in training and evaluation; a snapshot of the statistics is held."""
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
    assert norm.running_mean is not None
    snapshot = norm.running_mean.numpy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(4, 1, 8, 8)), torch.randn(4, 2))
        loss.backward()
        optimizer.step()
        record.note("loss", loss)
        record.note("snapshot", snapshot)
    model.eval()
    with torch.inference_mode():
        record.note("evaluated", model(torch.ones(1, 1, 8, 8)))
    record.module("model", model)


def lstm(record: Record) -> None:
    """An LSTM over packed sequences, its state carried on and detached; and a GRU with dropout."""
    torch.manual_seed(3)
    net, head = nn.LSTM(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 1)
    parameters = [*net.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters)
    state: Any = None
    for _ in range(3):
        packed = pack_padded_sequence(torch.randn(2, 4, 3), [4, 2], batch_first=True)
        output, state = net(packed, state)
        padded, lengths = pad_packed_sequence(output, batch_first=True)
        loss = head(padded).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        state = tuple(part.detach() for part in state)
        record.note("lengths", lengths)
        record.note("loss", loss)
    record.module("net", net)
    record.note("gru", nn.GRU(3, 4, num_layers=2, dropout=0.5)(torch.randn(5, 1, 3)))


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8, padding_idx=0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        hidden = self.encoder(self.embedding(tokens), mask=mask, is_causal=True)
        result: torch.Tensor = self.head(hidden)
        return result


def transformer_amp(record: Record) -> None:
    """A transformer under bfloat16 autocast on the CPU, with a gradient scaler that scales and one that does not."""
    model = _Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for enabled in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2, enabled=enabled)
        for _ in range(3):
            tokens = torch.randint(0, 11, (2, 6))
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(tokens)
                loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            record.note("norm", nn.utils.clip_grad_norm_(model.parameters(), 1.0))
            scaler.step(optimizer)
            scaler.update()
            record.note("logits", logits)
            record.note("loss", loss)
        record.note("scaler", scaler.state_dict())
    model.eval()
    with torch.no_grad():
        record.note("evaluated", model(torch.ones(1, 4, dtype=torch.long)))
    record.module("model", model)


def scaler_skips(record: Record) -> None:
    """A scaler that finds an infinity skips the step and halves its scale."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (1.0, float("inf"), float("nan"), 2.0):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        record.note("stepped", scaler.step(optimizer))
        scaler.update()
        record.note("scale", scaler.get_scale())
        record.note("weight", weight)
        record.note("grad", weight.grad)


def hooked(record: Record) -> None:
    """Forward, backward, tensor and post-accumulate hooks that read values and change gradients."""
    told: list[Any] = []
    model = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 1))
    model[0].register_forward_pre_hook(lambda module, args: told.append(("pre", float(args[0].sum()))))
    model[1].register_forward_hook(lambda module, args, output: output * 2)
    model[2].register_full_backward_hook(lambda module, given, taken: told.append(("full", [g is None for g in given])))
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: told.append(("accumulated", p.grad.abs().sum().item())))
    inputs = torch.randn(2, 3, requires_grad=True)
    inputs.register_hook(lambda grad: grad.clamp(-0.1, 0.1))
    output = model(inputs)
    output.grad_fn.register_prehook(lambda grads: told.append(("node", grads[0].tolist())))
    output.sum().backward()
    record.note("told", told)
    record.note("inputs.grad", inputs.grad)
    record.module("model", model)


def odd_modules(record: Record) -> None:
    """Lazy modules, parametrizations, spectral norm, embeddings that renormalise in place, `.to` of whole modules."""
    lazy = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())
    record.note("lazy", lazy(torch.randn(3, 2)))
    tied = nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))
    record.note("orthogonal", tied(torch.ones(1, 3)))
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    record.note("spectral", spectral(torch.ones(1, 3)))
    table = nn.Embedding(4, 3, max_norm=0.5)
    record.note("embedded", table(torch.tensor([1, 3])))
    record.module("table", table)
    model = nn.Linear(2, 2)
    before = model.weight.data_ptr()
    record.note("returned itself", model.to(torch.float64) is model)
    record.note("moved", model.weight.data_ptr() != before)
    model.half().float().to("cpu").type(torch.float64)
    record.module("model", model)
    record.note("dtype", str(model.weight.dtype))


PROGRAMS = (cnn_batchnorm, lstm, transformer_amp, scaler_skips, hooked, odd_modules)
