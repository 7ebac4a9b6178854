"""Every private PyTorch or CPython name this package leans on: since when, how to probe it, what is done without it.

``tensorwatch-guard doctor`` prints this table with the probes' answers. A name that is missing never stops a program: the
room that uses it falls back as its row says, and without a name that is ``NEEDED`` no guard can be made.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PrivateName:
    """One private name. ``since`` is the first torch or Python version it was seen in; empty where nobody looked."""

    name: str
    used_by: str
    fallback: str
    since: str = ""

    def present(self) -> bool:
        """Whether the name can be reached now; imports what stands in front of it."""
        parts = self.name.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                found: object = importlib.import_module(".".join(parts[:cut]))
            except ImportError:
                continue
            for part in parts[cut:]:
                if not hasattr(found, part):
                    return False
                found = getattr(found, part)
            return True
        return False


NEEDED: Final = "none: no guard can be made"
_NOT_SIMULATED: Final = "no simulated accelerator: refused by name"

PRIVATE: Final[tuple[PrivateName, ...]] = (
    PrivateName(
        "torch.fx.experimental.symbolic_shapes._find_user_code_frame",
        "probes/hiding.py",
        "torch.export's error for a branch on data names a line of ours",
    ),
    PrivateName(
        "torch.fx.experimental.symbolic_shapes.uninteresting_files",
        "probes/hiding.py",
        "torch.export's errors name a frame of ours",
    ),
    PrivateName("sys._getframe", "probes/reads.py", NEEDED),
    PrivateName("torch.compiler._is_compiling_flag", "probes/reads.py", NEEDED, "2.6"),
    PrivateName("torch._C._is_tracing", "probes/reads.py", NEEDED),
    PrivateName("torch._C._functorch.is_functorch_wrapped_tensor", "current.py", NEEDED),
    PrivateName("torch._is_functional_tensor", "current.py", NEEDED),
    PrivateName(
        "torch._C._nn._parse_to", "policy/foresee.py", "Tensor.to and Module.to are raised after they ran, not before"
    ),
    PrivateName("_pytest.runner.pytest_runtest_call", "pytest_support", "writes seen outside a test name pytest's frames"),
    PrivateName("torch._C.DisableTorchFunction", "current.py", NEEDED),
    PrivateName("torch._C._is_torch_function_mode_enabled", "current.py", NEEDED),
    PrivateName(
        "torch._C._storage_Use_Count", "sharing/holders.py", "an alias counts as live while its memory lives"
    ),
    PrivateName("torch._C._data_address", "sharing/addresses.py", "data_ptr(), which makes a lazy clone copy"),
    PrivateName("torch._C._FunctionBase", "sharing/saved.py", "stale values of custom autograd functions are a fault"),
    PrivateName(
        "torch.Tensor._use_count", "sharing/data_views.py", "each .data and each fused step is remembered, saved or not"
    ),
    PrivateName("torch._C._activate_gpu_trace", "probes/trace.py", "no trace layer", "2.4"),
    PrivateName("torch.cuda._gpu_trace", "probes/trace.py", "no trace layer", "2.4"),
    PrivateName("torch.xpu._gpu_trace", "probes/trace.py", "no trace layer", "2.4"),
    PrivateName("torch._C._push_on_torch_dispatch_stack", "probes/ops.py", "no ops layer"),
    PrivateName("torch._C._pop_torch_dispatch_stack", "probes/ops.py", "no ops layer"),
    PrivateName("torch._C._get_dispatch_stack_at", "probes/ops.py", "no ops layer"),
    PrivateName("torch._C._len_torch_dispatch_stack", "probes/effects.py", "no ops layer"),
    PrivateName("torch._C._DisableTorchDispatch", "probes/effects.py", "no ops layer"),
    PrivateName("torch._C._has_torch_function", "probes/ops.py", "no ops layer"),
    PrivateName("torch._C._current_autograd_node", "probes/effects.py", "no ops layer"),
    PrivateName(
        "torch.utils._python_dispatch.TorchDispatchMode._should_skip_dynamo", "probes/ops.py", "the ops layer imports dynamo"
    ),
    PrivateName(
        "torch.utils._python_dispatch.TorchDispatchMode.ignore_compile_internals", "probes/ops.py", "no ops layer", "2.9"
    ),
    PrivateName(
        "torch.optim.optimizer._get_value", "probes/step_reads.py", "an optimizer's reads of its step counts cost more each"
    ),
    PrivateName("threading.Thread._bootstrap_inner", "probes/ops.py", "no ops layer"),
    PrivateName("torch._C._has_mps", "session.py", "no copies to and from MPS devices"),
    PrivateName("torch._C._current_graph_task_id", "session.py", "backward threads have no site", "2.1"),
    PrivateName(
        "torch._C._autograd._get_sequence_nr",
        "sharing/graph.py",
        "stale gradients are only called possible",
        "2.1",
    ),
    PrivateName(
        "torch._dynamo.eval_frame.skip_code", "probes/hiding.py", "extra graph breaks after a graph break"
    ),
    PrivateName(
        "torch.jit._builtins._register_builtin",
        "probes/probe.py",
        "torch.jit.script refuses wrapped functions",
    ),
    PrivateName(
        "torch._dynamo.trace_rules", "probes/install.py", "dynamo keeps wrapped functions in its tables"
    ),
    PrivateName(
        "torch.utils.data.dataloader._BaseDataLoaderIter",
        "probes/spans.py",
        "no boundary at a DataLoader's next batch",
    ),
    PrivateName(
        "torch.utils.data._utils.collate.collate_numpy_array_fn",
        "probes/temporaries.py",
        "the tensors that a DataLoader makes of a batch's samples, and drops, are told as aliases",
    ),
    PrivateName(
        "torch.utils.data.dataloader._BaseDataLoaderIter._collate_fn",
        "probes/temporaries.py",
        "each of those tensors passes a probe: a DataLoader of many small samples is twice as slow",
    ),
    PrivateName(
        "torch._subclasses.fake_tensor.FakeTensor", "current.py", "fake tensors are seen as real ones"
    ),
    PrivateName(
        "torch._C._distributed_c10d.ProcessGroup", "probes/silent_writes.py", "what collectives write is put to NumPy"
    ),
    PrivateName("sys._current_frames", "sharing/at_once.py", "lines are not followed"),
    PrivateName("threading._dangling", "sharing/page_writes.py", "threads are named by number"),
    PrivateName("threading._active", "sharing/suspects.py", "threads that wrote are named by number"),
    PrivateName(
        "torch._C._dynamo.eval_frame.set_code_exec_strategy",
        "sharing/skip.py",
        "torch._dynamo.eval_frame.skip_code",
    ),
    PrivateName(
        "ctypes.pythonapi._PyEval_SetTrace",
        "sharing/thread_states.py",
        "on Python 3.11 threads that run already are not followed, and no write is exact beside them",
    ),
    PrivateName("torch._C._ensureCUDADeviceGuardSet", "simulate/device.py", _NOT_SIMULATED),
    PrivateName("torch._C._get_accelerator", "simulate/device.py", _NOT_SIMULATED),
    PrivateName("torch._C._has_cuda", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch._C._to_dlpack", "simulate/device.py", _NOT_SIMULATED),
    PrivateName("torch._C._from_dlpack", "simulate/device.py", _NOT_SIMULATED),
    PrivateName("torch._C._construct_storage_from_data_pointer", "simulate/tensors.py", _NOT_SIMULATED),
    PrivateName("torch._C.DispatchKeySet", "simulate/tensors.py", _NOT_SIMULATED),
    PrivateName("torch._C._VariableFunctions.zeros", "simulate/device.py", _NOT_SIMULATED),
    PrivateName(
        "torch._C._dispatch_get_registrations_for_dispatch_key", "simulate/registry.py", _NOT_SIMULATED
    ),
    PrivateName("torch._C._dispatch_has_kernel_for_dispatch_key", "simulate/schema.py", _NOT_SIMULATED),
    PrivateName(
        "torch._C._dispatch_has_computed_kernel_for_dispatch_key", "simulate/kernels.py", _NOT_SIMULATED
    ),
    PrivateName("torch.library.Library._destroy", "simulate/registry.py", _NOT_SIMULATED),
    PrivateName(
        "torch.cuda._gpu_trace.CallbackRegistry.fire_callbacks", "simulate/machine.py", _NOT_SIMULATED
    ),
    PrivateName("torch._C._CudaStreamBase", "simulate/streams.py", _NOT_SIMULATED),
    PrivateName("torch._C._CudaEventBase", "simulate/streams.py", _NOT_SIMULATED),
    PrivateName("torch._C._CUDAGraph", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.cuda._initialized", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.cuda._cudart", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.cuda._cached_device_count", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.cuda._is_in_bad_fork", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.cuda._exchange_device", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.cuda._maybe_exchange_device", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.autograd.graph._engine_run_backward", "simulate/engine.py", _NOT_SIMULATED),
    PrivateName("torch.autograd.profiler._supported_activities", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.cuda.nvtx._nvtx", "simulate/face.py", _NOT_SIMULATED),
    PrivateName("torch.jit._builtins._find_builtin", "simulate/pinning.py", _NOT_SIMULATED),
    PrivateName("torch.utils._device._device_constructors", "simulate/pinning.py", _NOT_SIMULATED),
    PrivateName("torch._C._accelerator_setDeviceIndex", "simulate/machine.py", "one simulated device only"),
    PrivateName(
        "torch._C._dynamo.eval_frame._FrameExecStrategy",
        "simulate/compiling.py",
        "compiled functions break at each simulated operation",
    ),
)


def missing() -> list[str]:
    """Names without which no guard can be made."""
    return [one.name for one in PRIVATE if one.fallback == NEEDED and not one.present()]
