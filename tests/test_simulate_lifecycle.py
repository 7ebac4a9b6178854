"""Entering and leaving the simulated accelerator: everything or nothing, and everything back."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import torch

from tensorwatch_guard import simulate
from tensorwatch_guard.simulate import active, simulated_accelerator
from tensorwatch_guard.simulate.refusal import SimulatorUnavailableError

NAMES = (
    torch,
    torch._C,
    torch.cuda,
    torch.Tensor,
    torch.UntypedStorage,
    torch.autograd,
    torch.autograd.graph,
)


def child(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ,
    )


def names() -> dict[str, dict[str, int]]:
    # The simulator's own modules come into being with the first entry; a class's slots are made anew on each look.
    return {
        str(owner): {
            name: id(value) for name, value in vars(owner).items() if name not in {"__builtins__", "__dict__"}
        }
        for owner in (*NAMES, torch._C._CudaStreamBase, torch._C._CudaEventBase, torch.backends.cudnn)
    }


def test_nothing_is_left_behind() -> None:
    with simulated_accelerator("cuda"):
        torch.ones(1, device="cuda")
    before = names()
    with simulated_accelerator("cuda"):
        assert names() != before
        torch.ones(2, 2, device="cuda").sum().item()
    assert names() == before
    assert not torch.cuda.is_available()
    assert torch.accelerator.current_accelerator() is None
    assert torch.backends.mha.get_fastpath_enabled()
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("aten::mm", "CUDA")
    assert not torch.empty(3, dtype=torch.float).is_pinned()


def test_active_names_the_device_type() -> None:
    assert active() is None
    with simulated_accelerator("cuda"):
        assert active() == "cuda"
    assert active() is None


def test_asking_for_it_imports_no_torch() -> None:
    done = child(
        "import sys; from tensorwatch_guard import simulate; "
        "assert simulate.active() is None; assert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_an_error_inside_leaves_cleanly() -> None:
    before = names()
    with pytest.raises(ZeroDivisionError), simulated_accelerator("cuda"):
        raise ZeroDivisionError
    assert names() == before


def test_a_failure_while_entering_takes_all_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorwatch_guard.simulate import engine

    def fail(*_: object) -> bool:
        raise OSError("no more threads")

    before = names()
    with monkeypatch.context() as patch:
        patch.setattr(engine, "install", fail)
        with pytest.raises(OSError, match="no more threads"):
            simulated_accelerator("cuda").__enter__()
    assert names() == before
    assert active() is None
    with simulated_accelerator("cuda"):
        assert torch.ones(1, device="cuda").item() == 1


def test_it_does_not_nest() -> None:
    with simulated_accelerator("cuda"):
        with pytest.raises(SimulatorUnavailableError, match="do not nest"), simulated_accelerator("cuda"):
            pass
        assert torch.ones(1, device="cuda").item() == 1  # the outer one goes on


def test_it_can_be_entered_again_and_tensors_live_on() -> None:
    accelerator = simulated_accelerator("cuda")
    with accelerator:
        x = torch.arange(3.0, device="cuda")
    with pytest.raises(NotImplementedError, match="CUDA"):
        x + 1
    with accelerator:
        assert (x + 1).tolist() == [1, 2, 3]


@pytest.mark.parametrize(("arguments", "words"), [(("xpu",), "only 'cuda'"), (("cuda",), "count must be")])
def test_bad_values_are_named(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulated_accelerator(*arguments, count=0 if "cuda" in arguments else 1)


def test_a_torch_with_cuda_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(SimulatorUnavailableError, match="has CUDA of its own"):
        simulated_accelerator("cuda").__enter__()
    assert active() is None


def test_an_old_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(SimulatorUnavailableError, match=r"needs PyTorch 2\.9"):
        simulated_accelerator("cuda").__enter__()


def test_another_platform_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SimulatorUnavailableError, match="needs 64-bit Linux"):
        simulated_accelerator("cuda").__enter__()


@pytest.mark.parametrize("name", ["_REGISTRY", "_HOOKS"])
def test_a_missing_symbol_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from tensorwatch_guard.simulate import device

    before = names()
    monkeypatch.setattr(device, name, "_ZN2no4suchE")
    with pytest.raises(SimulatorUnavailableError, match="_ZN2no4suchE"):
        simulated_accelerator("cuda").__enter__()
    assert names() == before


def test_a_missing_header_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorwatch_guard.simulate import device

    monkeypatch.setattr(device, "_ROOT", os.path.dirname(simulate.__file__))
    with pytest.raises(SimulatorUnavailableError, match=r"cannot open .*libtorch_cpu\.so"):
        simulated_accelerator("cuda").__enter__()


def test_headers_that_do_not_match_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorwatch_guard.simulate import device

    def with_one_more(*parts: str) -> str:
        return read(*parts).replace(
            "virtual bool isBuilt", "virtual bool isNew() const; virtual bool isBuilt"
        )

    before, read = names(), device._header
    monkeypatch.setattr(device, "_header", with_one_more)
    with pytest.raises(SimulatorUnavailableError, match="does not match this PyTorch"):
        simulated_accelerator("cuda").__enter__()
    assert names() == before
    assert torch._C._get_accelerator().type == "cpu"


def test_entering_gives_no_warning_and_early_entry_has_device_threads() -> None:
    done = child(
        "import threading, torch\n"
        "from tensorwatch_guard.simulate import simulated_accelerator\n"
        "with simulated_accelerator('cuda') as s:\n"
        "    assert s.device_threads\n"
        "    x = torch.ones(2, device='cuda', requires_grad=True); seen = []\n"
        "    x.register_hook(lambda g: seen.append(threading.get_ident()))\n"
        "    x.sum().backward()\n"
        "    assert seen != [threading.get_ident()]\n",
        "-Werror",
    )
    assert done.returncode == 0, done.stderr


def test_late_entry_warns_and_computes_on_the_callers_thread() -> None:
    done = child(
        "import threading, warnings, torch\n"
        "from tensorwatch_guard.simulate import simulated_accelerator\n"
        "torch.ones(1, requires_grad=True).sum().backward()\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    s = simulated_accelerator('cuda').__enter__()\n"
        "assert 'after the process had run a backward' in str(said[0].message) and said[0].filename == '<string>'\n"
        "assert not s.device_threads\n"
        "x = torch.ones(2, device='cuda', requires_grad=True); seen = []\n"
        "x.register_hook(lambda g: seen.append(threading.get_ident()))\n"
        "(x * x).sum().backward()\n"
        "assert seen == [threading.get_ident()] and x.grad.tolist() == [2, 2]\n"
        "(g,) = torch.autograd.grad((x * 3).sum(), x); assert g.tolist() == [3, 3]\n"
        "s.__exit__(None, None, None)\n"
    )
    assert done.returncode == 0, done.stderr


def test_it_is_process_wide() -> None:
    import threading

    seen = []
    with simulated_accelerator("cuda"):
        x = torch.ones(3, device="cuda")
        threads = [threading.Thread(target=lambda: seen.append((x * 2).sum().item())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == [6.0] * 4


def test_a_forked_child_hears_what_a_gpu_says() -> None:
    done = child(
        "import os, torch\n"
        "from tensorwatch_guard.simulate import simulated_accelerator\n"
        "with simulated_accelerator('cuda'):\n"
        "    x = torch.ones(2, device='cuda')\n"
        "    for use in (lambda: x + 1, lambda: torch.zeros(1, device='cuda'), lambda: torch.cuda.synchronize()):\n"
        "        pid = os.fork()\n"
        "        if not pid:\n"
        "            try: use()\n"
        "            except RuntimeError as e: os._exit(7 if 'forked subprocess' in str(e) else 8)\n"
        "            os._exit(9)\n"
        "        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7\n"
        "    assert (x + 1).tolist() == [2, 2]\n"
    )
    assert done.returncode == 0, done.stderr


def test_no_warning_while_used() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "simulated_accelerator.. was entered after")
        with simulated_accelerator("cuda"):
            model = torch.nn.Linear(2, 2).cuda()
            model(torch.ones(1, 2, device="cuda")).sum().backward()
