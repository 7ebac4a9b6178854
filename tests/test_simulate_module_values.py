"""Modules, losses on the simulated device: the values of the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name it is known by
from torch import nn

from simulated_values import Cases, on
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Iterator

FUSED_CELLS = 3e-6  # CUDA's fused LSTM and GRU cells add in another order than the unfused CPU ones
MATH_ATTENTION = 2e-5  # the device takes the math way of attention, the CPU its flash kernel

CASES = Cases()


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


def through(module: nn.Module, device: str, *inputs: torch.Tensor) -> list[Any]:
    """Output, input gradients and parameter gradients of a module."""
    module = module.to(device)
    given = [x.clone().to(device).requires_grad_() for x in inputs]
    out = module(*given)
    first = out[0] if isinstance(out, tuple) else out
    first.square().sum().backward()
    return [out, [x.grad for x in given], [p.grad for p in module.parameters()], list(module.buffers())]


# --- modules ---------------------------------------------------------------------------------------------------
@CASES.add()
def linear(device: str) -> Any:
    return through(nn.Linear(5, 3), device, torch.randn(4, 5))


@CASES.add()
def linear_without_bias_3d(device: str) -> Any:
    return through(nn.Linear(5, 3, bias=False), device, torch.randn(2, 4, 5))


@CASES.add()
def layer_norm(device: str) -> Any:
    return through(nn.LayerNorm(6), device, torch.randn(4, 6))


@CASES.add()
def dropout(device: str) -> Any:
    return through(nn.Dropout(0.5), device, torch.randn(40, 6))


@CASES.add()
def conv1d(device: str) -> Any:
    return through(nn.Conv1d(2, 3, 3), device, torch.randn(2, 2, 9))


@CASES.add()
def conv2d_strided_grouped(device: str) -> Any:
    return through(nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2), device, torch.randn(2, 4, 8, 8))


@CASES.add()
def conv2d_channels_last(device: str) -> Any:
    x = torch.randn(2, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    return through(nn.Conv2d(3, 4, 3), device, x)


@CASES.add()
def conv3d(device: str) -> Any:
    return through(nn.Conv3d(1, 2, 2), device, torch.randn(1, 1, 4, 4, 4))


@CASES.add()
def conv_transpose2d(device: str) -> Any:
    return through(nn.ConvTranspose2d(2, 3, 3), device, torch.randn(2, 2, 5, 5))


@CASES.add()
def batch_norm_train_and_eval(device: str) -> Any:
    module = nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5)
    trained = through(module, device, x)
    return [trained, module.eval()(x.to(device))]


@CASES.add()
def group_and_instance_norm(device: str) -> Any:
    module = nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True))
    return through(module, device, torch.randn(2, 4, 5, 5))


@CASES.add()
def pooling(device: str) -> Any:
    x = torch.randn(2, 3, 8, 8)
    modules = (nn.MaxPool2d(2), nn.AvgPool2d(3), nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(3))
    return [through(module, device, x) for module in modules]


@CASES.add()
def upsample(device: str) -> Any:
    x = torch.randn(1, 2, 4, 4)
    modes = ("nearest", "bilinear", "bicubic")
    return [through(nn.Upsample(scale_factor=2, mode=mode), device, x) for mode in modes]


@CASES.add()
def embedding_bag(device: str) -> Any:
    module = nn.EmbeddingBag(10, 4, mode="mean").to(device)
    out = module(torch.tensor([[1, 2], [3, 4]]).to(device))
    out.sum().backward()
    return [out, module.weight.grad]


@CASES.add()
def embedding_and_cross_entropy(device: str) -> Any:
    module = nn.Sequential(nn.Embedding(10, 4, padding_idx=0), nn.Linear(4, 3)).to(device)
    loss = F.cross_entropy(
        module(torch.tensor([0, 1, 5, 9]).to(device)), torch.tensor([0, 2, 1, 1]).to(device)
    )
    loss.backward()
    return [loss, [p.grad for p in module.parameters()]]


@CASES.add()
def weight_norm_and_spectral_norm(device: str) -> Any:
    first = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    second = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
    return through(nn.Sequential(first, second), device, torch.randn(3, 4))


@CASES.add()
def lstm_layers_with_dropout(device: str) -> Any:
    module = nn.LSTM(4, 5, num_layers=3, dropout=0.5, batch_first=True)
    return through(module, device, torch.randn(3, 6, 4))


@CASES.add()
def lstm_without_bias_and_gradients(device: str) -> Any:
    module = nn.LSTM(4, 5, bidirectional=True, bias=False).to(device).eval()
    x = on(device, 6, 3, 4)
    with torch.no_grad():
        plain = module(x, (on(device, 2, 3, 5), on(device, 2, 3, 5)))
    with torch.inference_mode():
        return [plain, module(x)]


@CASES.add(FUSED_CELLS)
def lstm_in_double_and_with_projections(device: str) -> Any:
    double = through(nn.LSTM(4, 5).double(), device, torch.randn(6, 3, 4).double())
    return [double, through(nn.LSTM(4, 5, proj_size=2), device, torch.randn(6, 3, 4))]


@CASES.add()
def lstm(device: str) -> Any:
    module = nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True)
    return through(module, device, torch.randn(3, 6, 4))


@CASES.add(FUSED_CELLS)
def gru(device: str) -> Any:
    return through(nn.GRU(4, 5, num_layers=2), device, torch.randn(6, 3, 4))


@CASES.add(FUSED_CELLS)
def gru_without_bias(device: str) -> Any:
    return through(nn.GRU(4, 5, bias=False), device, torch.randn(6, 3, 4))


@CASES.add(FUSED_CELLS)
def cells(device: str) -> Any:
    x = torch.randn(3, 4)
    return [
        through(nn.LSTMCell(4, 5), device, x),
        through(nn.GRUCell(4, 5), device, x),
        through(nn.RNNCell(4, 5), device, x),
    ]


@CASES.add(FUSED_CELLS)
def plain_rnn(device: str) -> Any:
    return through(nn.RNN(4, 5), device, torch.randn(6, 3, 4))


@CASES.add(FUSED_CELLS)
def packed_sequence(device: str) -> Any:
    module = nn.LSTM(4, 5).to(device)
    packed = nn.utils.rnn.pack_padded_sequence(on(device, 6, 3, 4), [6, 4, 2])
    out, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0])
    out.sum().backward()
    return [out, [p.grad for p in module.parameters()]]


@CASES.add(MATH_ATTENTION)
def multihead_attention(device: str) -> Any:
    module = nn.MultiheadAttention(8, 2, batch_first=True).to(device)
    x = on(device, 2, 5, 8, grad=True)
    out, weights = module(x, x, x)
    out.sum().backward()
    return [out, weights, x.grad]


@CASES.add(MATH_ATTENTION)
def transformer_encoder(device: str) -> Any:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return through(nn.TransformerEncoder(layer, 2), device, torch.randn(2, 5, 8))


@CASES.add(MATH_ATTENTION)
def transformer_encoder_evaluated_with_padding(device: str) -> Any:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = nn.TransformerEncoder(layer, 1).to(device).eval()
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]).to(device)
    with torch.no_grad():
        return module(on(device, 2, 5, 8), src_key_padding_mask=padding)[:, :3]


@CASES.add(MATH_ATTENTION)
def scaled_dot_product_attention(device: str) -> Any:
    q, k, v = (on(device, 2, 2, 4, 8, grad=True) for _ in range(3))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    out.sum().backward()
    return [out, q.grad, k.grad, v.grad]


# --- losses and functionals ------------------------------------------------------------------------------------
@CASES.add()
def losses(device: str) -> Any:
    x, y = on(device, 6, 4, grad=True), on(device, 6, 4)
    target = torch.tensor([0, 1, 2, 3, 0, 1]).to(device)
    values = [
        F.mse_loss(x, y), F.l1_loss(x, y), F.smooth_l1_loss(x, y), F.huber_loss(x, y), F.cross_entropy(x, target),
        F.nll_loss(F.log_softmax(x, 1), target), F.binary_cross_entropy_with_logits(x, y.sigmoid()),
        F.kl_div(F.log_softmax(x, 1), y.softmax(1), reduction="batchmean"),
        F.cosine_embedding_loss(x, y, target.sign()),
        F.hinge_embedding_loss(x, y.sign()), F.margin_ranking_loss(x[:, 0], x[:, 1], y[:, 0].sign()),
        F.triplet_margin_loss(x, y, y.flip(0)), F.multi_margin_loss(x, target), F.gaussian_nll_loss(x, y, y.square()),
    ]  # fmt: skip
    sum(values).backward()
    return [values, x.grad]


@CASES.add()
def ctc_loss(device: str) -> Any:
    logits = on(device, 12, 2, 5, grad=True)
    loss = F.ctc_loss(
        logits.log_softmax(2), torch.tensor([[1, 2, 3], [1, 1, 2]]).to(device), (12, 10), (3, 2)
    )
    loss.backward()
    return [loss, logits.grad]


@CASES.add()
def activations(device: str) -> Any:
    x = on(device, 5, 8, grad=True)
    names = (
        "relu",
        "gelu",
        "silu",
        "elu",
        "leaky_relu",
        "softplus",
        "hardswish",
        "mish",
        "tanh",
        "sigmoid",
        "glu",
    )
    outs = [getattr(F, name)(x) for name in names]
    sum(out.sum() for out in outs).backward()
    return [outs, x.grad]


@CASES.add()
def padding_folding_and_sampling(device: str) -> Any:
    x = on(device, 1, 2, 6, 6, grad=True)
    grid = torch.rand(1, 3, 3, 2).to(device) * 2 - 1
    outs = [
        F.pad(x, (1, 1, 1, 1), mode="reflect"), F.unfold(x, 3), F.grid_sample(x, grid, align_corners=False),
        F.pixel_unshuffle(x, 2), F.normalize(x), F.interpolate(x, size=4),
    ]  # fmt: skip
    sum(out.sum() for out in outs).backward()
    return [outs, x.grad]


@pytest.mark.parametrize("name", list(CASES))
def test_same_values_as_on_the_cpu(name: str) -> None:
    CASES.check(name)
