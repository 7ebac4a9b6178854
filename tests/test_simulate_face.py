"""``torch.cuda`` and ``torch.accelerator``, simulated: devices, streams, events, pinned memory, random state."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.cuda import Event as CudaEvent
from torch.cuda import Stream as CudaStream
from torch.utils.data import DataLoader, TensorDataset

from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda", count=2):
        yield


def test_tensors_are_plain_tensors() -> None:
    x = torch.ones(2, device="cuda")
    assert type(x) is torch.Tensor
    assert (x.is_cuda, x.device, x.get_device()) == (True, torch.device("cuda", 0), 0)
    assert repr(x) == "tensor([1., 1.], device='cuda:0')"
    assert isinstance(nn.Linear(1, 1).cuda().weight, nn.Parameter)


def test_it_is_there() -> None:
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() == 2
    assert torch.cuda.is_initialized()
    assert torch.cuda.get_device_name() == "Simulated accelerator"
    assert torch.cuda.get_device_capability() == (9, 0)
    assert torch.cuda.is_bf16_supported()
    assert torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    assert torch.accelerator.device_count() == 2
    assert torch.cuda.get_arch_list() == ["sm_90"]
    assert torch.cuda.mem_get_info()[0] > 0


def test_memory_statistics_are_zero() -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert (
        torch.cuda.memory_allocated()
        == torch.cuda.max_memory_allocated()
        == torch.cuda.memory_reserved()
        == 0
    )


def test_the_current_device() -> None:
    assert torch.cuda.current_device() == 0
    with torch.cuda.device(1):
        y = torch.ones(1, device="cuda")
        assert y.device.index == torch.accelerator.current_device_index() == 1
        assert y.to("cuda") is y
        assert y.cuda() is y
        assert torch.tensor([1], device="cuda").device.index == 1
        assert torch.ones(1).cuda().device.index == 1
    assert torch.ones(1, device="cuda").device.index == 0
    torch.cuda.set_device(1)
    assert torch.empty(1, device="cuda").device.index == 1
    torch.cuda.set_device(0)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(1, device="cuda:5")


def test_two_devices_do_not_mix() -> None:
    one, other = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1")
    with pytest.raises(RuntimeError, match="found at least two devices, cuda:0 and cuda:1"):
        one + other
    assert (one.to("cuda:1") + other).device.index == 1
    assert (one.cuda(1) + other).tolist() == [2, 2]
    x = torch.ones(2, device="cuda:1", requires_grad=True)
    (x.to("cuda:0") * one).sum().backward()
    assert x.grad is not None
    assert x.grad.device.index == 1


def test_host_and_device_do_not_mix() -> None:
    x, host = torch.ones(2, 2, device="cuda"), torch.ones(2, 2)
    with pytest.raises(RuntimeError, match="found at least two devices, cuda:0 and cpu!"):
        x + host
    with pytest.raises(
        RuntimeError, match=r"got mat2 is on cpu, different from other tensors on cuda:0 .*wrapper_CUDA_mm"
    ):
        x @ host
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        host[torch.tensor([0], device="cuda")]
    with pytest.raises(RuntimeError, match="got tensors is on cpu"):
        torch.cat([x, host])
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        x.numpy()
    with pytest.raises(RuntimeError, match="device"):
        nn.Linear(2, 2).cuda()(host)
    assert (x + torch.tensor(1.0)).tolist() == [[2, 2], [2, 2]]


# Names as they are at the time of the test, and one that was imported before.
MAKERS: dict[str, Callable[[], Any]] = {
    "torch.cuda.Stream": lambda: torch.cuda.Stream,
    "torch.Stream": lambda: torch.Stream,
    "CudaStream": lambda: CudaStream,
    "torch.cuda.Event": lambda: torch.cuda.Event,
    "torch.Event": lambda: torch.Event,
    "CudaEvent": lambda: CudaEvent,
}


@pytest.mark.parametrize("name", ["torch.cuda.Stream", "torch.Stream", "CudaStream"])
def test_streams(name: str) -> None:
    make = MAKERS[name]()
    stream = make()
    assert isinstance(stream, torch.cuda.Stream)
    assert isinstance(stream, torch.Stream)
    assert stream.device == torch.device("cuda", 0)
    assert stream != torch.cuda.current_stream()
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream
        x = torch.ones(3, device="cuda") * 2
        x.record_stream(stream)
    stream.synchronize()
    torch.cuda.current_stream().wait_stream(stream)
    assert stream.query()
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert torch.accelerator.current_stream() == torch.cuda.default_stream()
    assert repr(stream).startswith("<torch.cuda.Stream device=cuda:0")
    assert make() != stream
    assert len({stream, torch.cuda.default_stream()}) == 2


def test_streams_of_another_device() -> None:
    stream = torch.cuda.Stream(device=1)
    assert stream.device == torch.device("cuda", 1)
    with torch.cuda.stream(stream):
        assert torch.cuda.current_device() == 1
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("name", ["torch.cuda.Event", "torch.Event", "CudaEvent"])
def test_events(name: str) -> None:
    make = MAKERS[name]()
    start, end = make(enable_timing=True), make(enable_timing=True)
    start.record()
    torch.ones(3, device="cuda").sum()
    end.record(torch.cuda.current_stream())
    end.synchronize()
    end.wait()
    assert start.elapsed_time(end) >= 0
    assert end.query()
    assert isinstance(start, torch.Event)
    with pytest.raises(ValueError, match="must be recorded"):
        start.elapsed_time(make(enable_timing=True))
    with pytest.raises(ValueError, match="enable_timing"):
        make().elapsed_time(end)
    assert torch.cuda.current_stream().record_event().query()


def test_pinned_memory() -> None:
    x = torch.ones(3)
    assert not x.is_pinned()
    pinned = x.pin_memory()
    assert pinned.is_pinned()
    assert pinned[1:].is_pinned()
    assert pinned.tolist() == [1, 1, 1]
    assert torch.empty(2, pin_memory=True).is_pinned()
    assert torch.zeros(2, pin_memory=True).untyped_storage().is_pinned()
    assert x.new_zeros(2, pin_memory=True).is_pinned()
    assert torch.ones(2, device="cuda").to("cpu", non_blocking=True).is_pinned()
    assert not torch.ones(2, device="cuda").is_pinned()
    with pytest.raises(RuntimeError, match="Only dense CPU tensors can be pinned"):
        torch.empty(2, device="cuda", pin_memory=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_data_loader(workers: int) -> None:
    loader = DataLoader(
        TensorDataset(torch.arange(12.0), torch.arange(12)), 4, pin_memory=True, num_workers=workers
    )
    seen = []
    for x, y in loader:
        assert x.is_pinned()
        assert y.is_pinned()
        seen += (x.to("cuda", non_blocking=True) + y.to("cuda", non_blocking=True)).tolist()
    assert seen == [2.0 * i for i in range(12)]


def test_generators() -> None:
    generator = torch.Generator(device="cuda")
    assert isinstance(generator, torch.Generator)
    assert generator.device == torch.device("cuda", 0)
    assert isinstance(torch.Generator(), torch.Generator)
    assert torch.Generator().device.type == "cpu"
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.rand(2, device="cuda", generator=torch.Generator())
    assert isinstance(torch.default_generator, torch.Generator)


def test_random_state() -> None:
    torch.cuda.manual_seed(3)
    first = torch.rand(3, device="cuda")
    torch.cuda.manual_seed_all(3)
    assert torch.equal(torch.rand(3, device="cuda"), first)
    state = torch.cuda.get_rng_state()
    second = torch.rand(3, device="cuda")
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.rand(3, device="cuda"), second)
    with torch.random.fork_rng(devices=[0]):
        torch.rand(2, device="cuda")


def test_default_devices() -> None:
    with torch.device("cuda"):
        x = torch.ones(2)
        assert x.is_cuda
        assert nn.Linear(2, 2)(x).is_cuda
        assert torch.arange(3).sum().item() == 3
    torch.set_default_device("cuda")
    try:
        assert torch.zeros(1).is_cuda
        assert torch.tensor([1.0]).add(1).item() == 2
    finally:
        torch.set_default_device(None)
    assert not torch.zeros(1).is_cuda


def test_modes_see_what_they_see_on_a_gpu() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Seen(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    with Seen() as seen:
        x = torch.tensor([1.0], device="cuda")
        (x + 1).item()
        x.cpu()
    assert seen.names == [
        "aten.lift_fresh.default",
        "aten.add.Tensor",
        "aten._local_scalar_dense.default",
        "aten._to_copy.default",
    ]


def test_storages() -> None:
    x = torch.arange(4.0, device="cuda")
    storage = x.untyped_storage()
    assert storage.device == torch.device("cuda", 0)
    assert storage.cpu().nbytes() == 16
    assert torch.UntypedStorage(8, device="cuda").device.type == "cuda"
    assert bytes(storage.cpu().tolist()) == bytes(x.cpu().numpy())
    assert x[1:].data_ptr() == x.data_ptr() + 4
    assert x[1:].untyped_storage().data_ptr() == storage.data_ptr()
    assert storage.clone().device.type == "cuda"


def test_views_share_and_versions_count() -> None:
    x = torch.zeros(4, device="cuda")
    view = x[1:3]
    assert view._base is x
    before = x._version
    view.add_(1)
    assert x._version == view._version == before + 1
    assert x.tolist() == [0, 1, 1, 0]
    y = x.requires_grad_() * 2
    z = y.exp()
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_autocast() -> None:
    x, w = torch.ones(2, 2, device="cuda"), torch.ones(2, 2, device="cuda")
    with torch.autocast("cuda"):
        assert (x @ w).dtype is torch.float16
        assert torch.is_autocast_enabled("cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert (x @ w).dtype is torch.bfloat16
        assert (x @ w).softmax(0).dtype is torch.float32
    with torch.autocast("cpu"):
        assert (x @ w).dtype is torch.float32


def test_autocast_reaches_into_an_lstm() -> None:
    x = torch.ones(3, 2, 4, device="cuda")
    for module in (nn.GRU(4, 5).cuda(), nn.RNN(4, 5).cuda(), nn.LSTM(4, 5).cuda()):
        with torch.autocast("cuda"):
            out = module(x)[0]
            assert out.dtype is torch.float16
        out.sum().backward()
        assert module.weight_ih_l0.grad.dtype is torch.float32
        assert module(x)[0].dtype is torch.float32
    with pytest.raises(RuntimeError, match="Input and parameter tensors are not at the same device"):
        module(x.cpu())


def test_anomaly_mode() -> None:
    x = torch.zeros(1, device="cuda", requires_grad=True)
    with (
        torch.autograd.detect_anomaly(check_nan=True),
        pytest.raises(RuntimeError, match="returned nan values"),
    ):
        (x.sqrt() * 0).sum().backward()


def test_torch_script() -> None:
    @torch.jit.script
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2 + torch.zeros(1, device=x.device)

    x = torch.ones(2, device="cuda")
    assert double(x).tolist() == [2, 2]
    assert torch.jit.trace(lambda t: t.sin() + 1, x)(x).is_cuda


def test_compiled_functions_have_one_graph_each() -> None:
    """Dynamo must not see the simulator's own frames. In a child process: importing Dynamo leaves much behind."""
    code = (
        "import torch\n"
        "from tensorwatch_guard.simulate import simulated_accelerator\n"
        "graphs = []\n"
        "def backend(module, inputs): graphs.append(module); return module.forward\n"
        "with simulated_accelerator('cuda'):\n"
        "    f = torch.compile(lambda x: ((x * 2).relu() @ x.t()).sum(), backend=backend)\n"
        "    x = torch.ones(3, 3, device='cuda', requires_grad=True)\n"
        "    f(x).backward(); y = f(x.detach() + 1)\n"
        "    assert y.item() == 216 and x.grad.tolist() == [[12.0] * 3] * 3, (y, x.grad)\n"
        "    assert len(graphs) in (1, 2), graphs\n"
        "    torch.compile(torch.nn.Linear(3, 3).cuda(), backend='eager', fullgraph=True)(x)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr


def test_data_parallel() -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(3, 2).cuda(), torch.randn(5, 3, device="cuda")
    expected = module(x)
    out = nn.DataParallel(module, device_ids=[0, 1])(x)
    assert torch.equal(out, expected)
    out.sum().backward()
    assert module.weight.grad is not None


def test_profiler_and_ranges(capfd: pytest.CaptureFixture[str]) -> None:
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile, torch.cuda.nvtx.range("step"):
        torch.ones(3, device="cuda").sum()
    assert "aten::sum" in {event.key for event in profile.key_averages()}
    assert "Failed" not in capfd.readouterr().err


def test_saving_from_one_device_to_another() -> None:
    file = io.BytesIO()
    torch.save(torch.arange(3.0, device="cuda:1"), file)
    for location, device in (
        (None, "cuda:1"),
        ("cuda:0", "cuda:0"),
        ("cpu", "cpu"),
        ({"cuda:1": "cuda:0"}, "cuda:0"),
    ):
        file.seek(0)
        assert str(torch.load(file, map_location=location).device) == device
    assert pickle.loads(pickle.dumps(torch.ones(2, device="cuda:1"))).device.index == 1


def test_out_that_grows_keeps_its_tensor() -> None:
    x, out = torch.ones(4, device="cuda"), torch.empty(0, device="cuda")
    view = out.detach()
    assert torch.add(x, 1, out=out) is out
    assert out.tolist() == [2, 2, 2, 2]
    assert view.numel() == 0
    with pytest.warns(UserWarning, match="was resized"):
        torch.add(x, 1, out=torch.empty(2, device="cuda"))


def test_dlpack_and_array_interface_answer_as_a_device() -> None:
    x = torch.ones(2, device="cuda")
    assert x.__dlpack_device__()[0] == 2
    with pytest.raises(TypeError):
        memoryview(x)  # type: ignore[arg-type]
