"""What the simulated device cannot do is named, with the operation and the user's line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tensorwatch_guard.simulate import simulated_accelerator
from tensorwatch_guard.simulate.refusal import CannotSimulateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REFUSED: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "sparse_coo_tensor": (lambda x: torch.sparse_coo_tensor([[0]], [1.0], (2,), device="cuda"), "sparse"),
    "to_sparse": (lambda x: x.to_sparse(), "sparse"),
    "to_sparse_csr": (lambda x: x.to_sparse_csr(), "sparse"),
    "nested_tensor": (lambda x: torch.nested.nested_tensor([x, x]) + 1, "nested"),
    "quantize": (lambda x: torch.quantize_per_tensor(x, 1.0, 0, torch.qint8), "qint8"),
    "graphs": (lambda x: torch.cuda.CUDAGraph(), "CUDA graphs"),
    "cudnn": (
        lambda x: torch.ops.aten.cudnn_affine_grid_generator(x, 1, 1, 1, 1),
        "cudnn_affine_grid_generator",
    ),
    "storage.resize_": (lambda x: x.untyped_storage().resize_(64), "UntypedStorage.resize_"),
    "sharing": (lambda x: x.untyped_storage()._share_cuda_(), "sharing device memory"),
}


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


@pytest.mark.parametrize("name", list(REFUSED))
def test_is_named_with_its_line(name: str) -> None:
    call, words = REFUSED[name]
    x = torch.ones(2, 2, device="cuda")
    with pytest.raises(CannotSimulateError) as caught:
        call(x)
    text = str(caught.value)
    assert words in text
    assert f'File "{__file__}", line ' in text
    assert (x + 1).sum().item() == 8  # and the device goes on


def test_collectives_are_named(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        with pytest.raises(CannotSimulateError, match=r"torch\.distributed collectives"):
            torch.distributed.all_reduce(torch.ones(2, device="cuda"))
        host = torch.ones(2)
        torch.distributed.all_reduce(host)
        assert host.tolist() == [1, 1]
    finally:
        torch.distributed.destroy_process_group()


def test_unknown_cuda_functions_are_named() -> None:
    with pytest.raises(
        AttributeError, match=r"simulated accelerator cannot do torch\._C\._cuda_memorySnapshot"
    ):
        torch.cuda.memory_snapshot()
    assert not hasattr(torch._C, "_cuda_nothing_of_the_kind")
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        torch._C.no_such_name  # type: ignore[attr-defined]


def test_an_operation_without_any_cpu_kernel_is_named() -> None:
    library = torch.library.Library("tensorwatch_test", "DEF")
    try:
        library.define("only_elsewhere(Tensor x) -> Tensor")
        library.define("on_the_host(Tensor x) -> Tensor")
        library.impl("on_the_host", lambda x: x + 1, "CPU")
        x = torch.ones(2, device="cuda")
        with pytest.raises(CannotSimulateError, match=r"tensorwatch_test\.only_elsewhere"):
            torch.ops.tensorwatch_test.only_elsewhere(x)
        assert torch.ops.tensorwatch_test.on_the_host(x).tolist() == [2, 2]
    finally:
        library._destroy()


def test_errors_of_operations_are_pytorchs_own() -> None:
    x = torch.ones(2, 3, device="cuda")
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        x @ x
    with pytest.raises(IndexError, match="out of bounds"):
        x[5]
    with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
        x.item()
    with pytest.raises(torch.linalg.LinAlgError, match="singular"):
        torch.linalg.inv(torch.zeros(2, 2, device="cuda"))
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
        torch.ones(2, dtype=torch.long, device="cuda").add_(0.5)


def test_nothing_is_kept_alive() -> None:
    import gc
    import weakref

    x = torch.ones(1000, device="cuda")
    gc.disable()
    try:
        y = (x * 2 + x[:1]).view(10, 100).t()
        watched = [weakref.ref(y), weakref.ref(x.untyped_storage())]
        host = weakref.ref(y.untyped_storage())
        del x, y
        assert [ref() for ref in (*watched, host)] == [None, None, None]
    finally:
        gc.enable()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_flat_over_300_steps() -> None:
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256)).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(64, 256, device="cuda")

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(x)[:, ::2].square().mean().backward()
            optimizer.step()

    steps(40)
    before = resident()
    steps(300)
    assert resident() - before < 8 << 20
