"""Optimizers, mixed precision, autograd on the simulated device: the values of the CPU."""

from __future__ import annotations

import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name it is known by
from torch import nn
from torch.utils.checkpoint import checkpoint

from simulated_values import Cases, on
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER_FORMULA = 3e-5  # a device takes foreach or capturable formulas where the CPU loops
LAPACK = 2e-5  # LAPACK's last digits vary from run to run with the memory's alignment

CASES = Cases()


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


# --- optimizers and mixed precision ----------------------------------------------------------------------------
def trained(device: str, make: Callable[..., Any], steps: int = 5) -> Any:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).to(device)
    optimizer = make(module.parameters())
    x, y = on(device, 8, 4), on(device, 8, 2)
    for _ in range(steps):

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(module(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
    state = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [list(module.parameters()), state]


OPTIMIZERS: dict[str, tuple[Callable[..., Any], float]] = {
    "sgd_momentum": (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True), 0.0),
    "sgd_fused": (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True), 0.0),
    "adam_default": (lambda p: torch.optim.Adam(p, 0.1), OTHER_FORMULA),
    "adam_loop": (lambda p: torch.optim.Adam(p, 0.1, foreach=False), 0.0),
    "adam_foreach": (lambda p: torch.optim.Adam(p, 0.1, foreach=True, amsgrad=True), 0.0),
    "adam_fused": (lambda p: torch.optim.Adam(p, 0.1, fused=True), 0.0),
    "adamw_foreach": (lambda p: torch.optim.AdamW(p, 0.1, foreach=True), 0.0),
    "adamw_fused": (lambda p: torch.optim.AdamW(p, 0.1, fused=True), 0.0),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, 0.01, centered=True, momentum=0.5), OTHER_FORMULA),
    "adagrad": (lambda p: torch.optim.Adagrad(p, 0.1), OTHER_FORMULA),
    "adadelta": (torch.optim.Adadelta, OTHER_FORMULA),
    "adamax": (lambda p: torch.optim.Adamax(p, 0.1), OTHER_FORMULA),
    "nadam": (lambda p: torch.optim.NAdam(p, 0.1), OTHER_FORMULA),
    "radam": (lambda p: torch.optim.RAdam(p, 0.1), OTHER_FORMULA),
    "rprop": (lambda p: torch.optim.Rprop(p, 0.01), OTHER_FORMULA),
    "asgd": (lambda p: torch.optim.ASGD(p, 0.1), OTHER_FORMULA),
    "lbfgs": (lambda p: torch.optim.LBFGS(p, 0.1, max_iter=4), LAPACK),
    "adafactor": (lambda p: torch.optim.Adafactor(p, 0.1), OTHER_FORMULA),
}  # fmt: skip
for _name, (_make, _tolerance) in OPTIMIZERS.items():
    CASES[_name] = (lambda device, make=_make: trained(device, make), _tolerance)  # type: ignore[misc]


@CASES.add()
def clipping_and_scheduler(device: str) -> Any:
    module = nn.Linear(4, 2).to(device)
    optimizer = torch.optim.SGD(module.parameters(), 0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    norms = []
    for _ in range(3):
        optimizer.zero_grad()
        module(on(device, 8, 4)).square().sum().backward()
        norms.append(nn.utils.clip_grad_norm_(module.parameters(), 0.1))
        nn.utils.clip_grad_value_(module.parameters(), 0.05)
        optimizer.step()
        scheduler.step()
    return [norms, list(module.parameters())]


@CASES.add()
def autocast_with_grad_scaler(device: str) -> Any:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(device)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    scaler = torch.amp.GradScaler(device, init_scale=64.0, growth_interval=2)
    for _ in range(4):
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = module(on(device, 8, 4)).square().mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    return [list(module.parameters()), scaler.get_scale()]


@CASES.add()
def grad_scaler_skips_infinite_steps(device: str) -> Any:
    module = nn.Linear(2, 1).to(device)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    scaler = torch.amp.GradScaler(device, init_scale=8.0)
    scaler.scale(module(torch.full((1, 2), float("inf")).to(device)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return [list(module.parameters()), scaler.get_scale()]


# --- autograd --------------------------------------------------------------------------------------------------
@CASES.add()
def double_backward(device: str) -> Any:
    x = on(device, 4, grad=True)
    (first,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    first.square().sum().backward()
    return [first, x.grad]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0] * 2 * ctx.saved_tensors[0]


@CASES.add()
def custom_function_and_hooks(device: str) -> Any:
    x, seen = on(device, 4, grad=True), []
    x.register_hook(seen.append)
    y = Doubled.apply(x)
    y.retain_grad()
    y.sum().backward()
    return [x.grad, y.grad, seen]


@CASES.add()
def checkpointing(device: str) -> Any:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh()).to(device)
    grads = []
    for reentrant in (True, False):
        x = on(device, 3, 4, grad=True)
        checkpoint(module, x, use_reentrant=reentrant).sum().backward()
        grads.append(x.grad)
    return [grads, [p.grad for p in module.parameters()]]


@CASES.add()
def function_transforms(device: str) -> Any:
    x = on(device, 5, 3)

    def loss(row: torch.Tensor) -> torch.Tensor:
        return (row.sin() * row).sum()

    return [
        torch.func.vmap(torch.func.grad(loss))(x),
        torch.func.jacrev(torch.sin)(x[0]),
        torch.func.hessian(loss)(x[0]),
    ]


@CASES.add()
def gradients_of_products_and_extremes(device: str) -> Any:
    x = on(device, 3, 4, grad=True)
    (
        x.prod()
        + x.cumprod(1).sum()
        + x.max()
        + x.median()
        + x.masked_fill(x > 0, 1.0).sum()
        + x.norm()
        + x.std()
    ).backward()
    return x.grad


@CASES.add()
def saved_on_the_host(device: str) -> Any:
    x = on(device, 3, grad=True)
    with torch.autograd.graph.save_on_cpu():
        (x.exp() * x).sum().backward()
    return x.grad


@CASES.add()
def inference_mode(device: str) -> Any:
    module = nn.Linear(3, 2).to(device)
    with torch.inference_mode():
        return module(on(device, 4, 3)).softmax(1)


# --- random numbers --------------------------------------------------------------------------------------------
@CASES.add()
def random_factories(device: str) -> Any:
    outs = [
        torch.rand(3, device=device), torch.randn(3, device=device), torch.randint(9, (4,), device=device),
        torch.randperm(7, device=device), torch.bernoulli(torch.full((5,), 0.5, device=device)),
        torch.multinomial(torch.ones(4, device=device), 6, replacement=True),
        torch.empty(4, device=device).normal_(1, 2),
        torch.empty(3, device=device).uniform_(-1, 1), torch.empty(3, device=device).exponential_(),
    ]  # fmt: skip
    return [*outs, torch.rand_like(outs[0]), torch.normal(outs[0], outs[0] + 1), torch.poisson(outs[0] * 4)]


@CASES.add()
def generators(device: str) -> Any:
    generator = torch.Generator(device=device).manual_seed(5)
    first = torch.rand(4, device=device, generator=generator)
    state = generator.get_state()
    second = torch.randn(3, device=device, generator=generator)
    generator.set_state(state)
    return [first, second, torch.randn(3, device=device, generator=generator)]


@CASES.add()
def distributions(device: str) -> Any:
    d = torch.distributions
    loc, scale = on(device, 3), on(device, 3).abs() + 0.1
    made = [
        d.Normal(loc, scale), d.Uniform(loc, loc + scale), d.Categorical(logits=loc), d.Bernoulli(logits=loc),
        d.Gamma(scale, scale),
        d.Beta(scale, scale), d.Exponential(scale), d.Laplace(loc, scale), d.Dirichlet(scale), d.Poisson(scale),
        d.Gumbel(loc, scale),
    ]  # fmt: skip
    samples = [distribution.sample() for distribution in made]
    return [
        samples,
        [m.log_prob(s) for m, s in zip(made, samples, strict=True)],
        d.kl_divergence(made[0], d.Normal(0.0, 1.0)),
    ]


@CASES.add()
def weight_initialisation(device: str) -> Any:
    with torch.device(device):
        module = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(1, 2, 3), nn.Embedding(5, 3))
    nn.init.kaiming_normal_(module[0].weight)
    nn.init.orthogonal_(module[2].weight)
    return list(module.parameters())


# --- saving and copying ----------------------------------------------------------------------------------------
@CASES.add()
def saved_and_loaded(device: str) -> Any:
    module = nn.Linear(3, 2).to(device)
    file = io.BytesIO()
    torch.save({"model": module.state_dict(), "x": on(device, 4)}, file)
    loaded = []
    for location in (None, "cpu", device, torch.device(device), lambda storage, _: storage):
        file.seek(0)
        loaded.append(torch.load(file, map_location=location))
    return loaded


@CASES.add()
def state_dicts_across_devices(device: str) -> Any:
    source, target = nn.BatchNorm1d(3).to(device), nn.BatchNorm1d(3)
    source(on(device, 4, 3))
    target.load_state_dict(source.state_dict())
    return list(target.state_dict().values())


@CASES.add()
def copied_and_pickled(device: str) -> Any:
    module = nn.Linear(3, 2).to(device)
    module(on(device, 2, 3)).sum().backward()
    twin = copy.deepcopy(module)
    again = pickle.loads(pickle.dumps(module))
    return [
        list(twin.parameters()),
        twin.weight.grad,
        list(again.parameters()),
        copy.deepcopy(on(device, 3)),
        on(device, 3).clone(),
    ]


@CASES.add()
def averaged_model(device: str) -> Any:
    module = nn.Linear(3, 2).to(device)
    average = torch.optim.swa_utils.AveragedModel(module)
    for _ in range(2):
        with torch.no_grad():
            module.weight.add_(1)
        average.update_parameters(module)
    return list(average.parameters())


@CASES.add()
def host_round_trips(device: str) -> Any:
    x = on(device, 3, 4)
    return [
        x.cpu().to(device), x.t().cpu(), x.tolist(), x[0, 0].item(), float(x[1, 1]), bool(x[0, 0] > 0), int(x[0, 0]),
        [v.item() for v in x[0]],
        x.to("cpu", non_blocking=True), x.cpu().numpy(), x.numpy(force=True), torch.tensor([x[0, 0], x[1, 1]]),
        f"{x[0, 0]:.3f}" == "",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_same_values_as_on_the_cpu(name: str) -> None:
    CASES.check(name)
