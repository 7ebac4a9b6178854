"""Child process of `test_uninstall`: enters and leaves guards in every awkward way and tells what was left behind.

``python uninstalling.py situations`` prints one JSON object: situation -> differences between before and after.
``python uninstalling.py tables [guard]`` prints what dynamo's rule tables hold after its first import, made bare or
inside a guard.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import gc
import json
import logging
import pickle
import signal
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
import torch.utils.data
import torch.utils.dlpack
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

from tensorwatch_guard import guard

OWNERS: tuple[Any, ...] = (
    builtins,
    np,
    torch,
    torch.Tensor,
    torch.nn.Parameter,
    torch.nn.Module,
    torch.optim.Optimizer,
    torch.optim.Adam,
    sys.modules["torch.optim.optimizer"],
    torch.optim.lr_scheduler,
    torch.autograd,
    torch.autograd.graph,
    torch.autograd.Function,
    torch.functional,
    torch.nn.functional,
    torch.cuda,
    torch.cuda.Stream,
    torch.cuda.Event,
    torch.accelerator,
    torch.xpu,
    torch.mps,
    torch.cpu,
    torch.Stream,
    torch.Event,
    torch.random,
    torch.storage,
    torch.UntypedStorage,
    torch.TypedStorage,
    torch.multiprocessing,
    sys.modules["torch.multiprocessing.reductions"],
    torch.utils.dlpack,
    torch.utils.data,
    sys.modules["torch.utils.data.dataloader"],
    torch.utils.data.DataLoader,
    sys.modules["torch.utils.data.dataloader"]._BaseDataLoaderIter,
    sys.modules["torch.utils.data._utils.collate"],
    sys.modules["torch.nn.modules.module"],
    sys.modules["torch._tensor"],
    sys.modules["torch._tensor_str"],
    torch.overrides,
    torch.serialization,
    threading,
    sys,
)
"""Everything that a probe might patch, and a good deal that it should not."""

PASSING = {"last_exc", "last_type", "last_value", "last_traceback", "_", "__warningregistry__"}


def state() -> dict[str, Any]:
    """What must be the same before and after: the objects that names stand for, and the stacks and hooks in force."""
    found: dict[str, Any] = {}
    for owner in OWNERS:
        for name, value in dict(vars(owner)).items():
            if name not in PASSING:
                found[f"{owner.__name__}.{name}"] = value if not isinstance(value, (int, float, str)) else repr(value)
    optimizer = sys.modules["torch.optim.optimizer"]
    module = sys.modules["torch.nn.modules.module"]
    found |= {
        "length of dispatch stack": torch._C._len_torch_dispatch_stack(),
        "length of function stack": torch._C._len_torch_function_stack(),
        "dispatch switches": repr(torch._C._meta_in_tls_dispatch_include()),
        "optimizer pre hooks": len(optimizer._global_optimizer_pre_hooks),
        "optimizer post hooks": len(optimizer._global_optimizer_post_hooks),
        "saved tensor hooks": repr(torch._C._autograd._top_saved_tensors_default_hooks(True)),
        "tracers": repr([sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()]),
        "frames": [frame.f_trace for frame in _frames()],
        "filters": repr(warnings.filters),
        "handlers": repr(logging.getLogger().handlers),
        "signals": repr([signal.getsignal(number) for number in sorted(signal.valid_signals())]),
        "excepthooks": repr([sys.excepthook, threading.excepthook, sys.unraisablehook]),
        "gc": repr([gc.callbacks, gc.isenabled(), gc.get_threshold()]),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "switches": repr([sys.getswitchinterval(), sys.getrecursionlimit()]),
    }
    for name in dir(module):
        if name.startswith("_global_") and hasattr(getattr(module, name), "__len__"):
            found[f"length of {name}"] = len(getattr(module, name))
    return found


def _frames() -> Iterator[Any]:
    frame: Any = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names that appeared, vanished or stand for something else."""
    told = []
    for name in sorted({*before, *after}):
        if name not in after:
            told.append(f"{name} is gone")
        elif name not in before:
            told.append(f"{name} is new: {after[name]!r}"[:200])
        elif before[name] is not after[name] and (callable(before[name]) or before[name] != after[name]):
            told.append(f"{name}: {before[name]!r} -> {after[name]!r}"[:300])
    return told


def work() -> float:
    """A step of training with reads, aliases and writes, so that every layer has had something to do."""
    source = np.ones((2, 3), dtype=np.float32)
    inputs = torch.from_numpy(source)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.Adam(model.parameters())
    for batch in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs), batch_size=1):
        loss = model(batch[0]).sum()
        loss.backward()
        optimizer.step()
        source += 1
    held = model.weight.detach().numpy()
    held[0] = loss.item()
    return float(inputs.sum()) + len(f"{loss}")


# --- situations: each enters and leaves; what it returns, if anything, is a list of further complaints


def plain() -> None:
    with guard(report=False):
        work()


def body_raises() -> None:
    for error in (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit):
        with contextlib.suppress(error), guard(report=False):
            work()
            raise error


def nested() -> None:
    with guard(report=False), guard(report=False, sync="off"):
        work()
        with guard(report=False, alias="off"):
            work()
        work()


def not_last_in_first_out() -> None:
    first, second, third = guard(report=False), guard(report=False), guard(report=False)
    first.__enter__()
    second.__enter__()
    work()
    first.__exit__(None, None, None)
    third.__enter__()
    work()
    second.__exit__(None, None, None)
    work()
    third.__exit__(None, None, None)


def entered_again() -> None:
    again = guard(report=False)
    for _ in range(3):
        with again:
            work()


def start_and_stop() -> None:
    started = guard(report=False)
    started.start()
    work()
    with started.paused():
        work()
    started.stop()


def decorated() -> None:
    @guard(report=False)
    def function() -> float:
        return work()

    @guard(report=False)
    def generator() -> Iterator[float]:
        while True:
            yield work()

    @guard(report=False)
    async def coroutine() -> float:
        await asyncio.sleep(0)
        return work()

    function()
    running = generator()
    next(running)
    next(running)
    running.close()
    asyncio.run(coroutine())
    abandoned = generator()
    next(abandoned)
    del abandoned
    gc.collect()


def in_threads() -> None:
    entered = threading.Barrier(3)

    def run(index: int) -> None:
        with guard(report=False):
            entered.wait()
            for _ in range(index + 1):
                work()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def checking() -> None:
    with guard(report=False, writes="check"):
        work()


def exactly() -> None:
    with guard(report=False, writes="exact"):
        work()


def with_ops() -> None:
    with guard(report=False, ops=True):
        work()


def ops_raises() -> None:
    with contextlib.suppress(ZeroDivisionError), guard(report=False, ops=True, writes="exact"):
        work()
        raise ZeroDivisionError


class _Function(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def beside_modes() -> None:
    with _Function(), guard(report=False, ops=True), _Dispatch():
        work()
    with _Dispatch(), guard(report=False), _Function():
        work()


def _seven(tensor: torch.Tensor) -> int:
    return 7


def mocked_inside() -> None:
    with guard(report=False), mock.patch.object(torch.Tensor, "item", _seven):
        assert torch.ones(1).item() == 7


def mocked_around() -> None:
    with mock.patch.object(torch.Tensor, "item", _seven), mock.patch.object(torch, "from_numpy", torch.tensor):
        with guard(report=False):
            assert torch.ones(1).item() == 7
            torch.from_numpy(np.ones(2))
        assert torch.ones(1).item() == 7


def _put_on_top(owner: Any, name: str) -> Callable[[], None]:
    """Patch as careless libraries do: save what stands there, set a closure, restore what was saved."""
    saved = getattr(owner, name)

    def closure(*args: Any, **kwargs: Any) -> Any:
        return saved(*args, **kwargs)

    setattr(owner, name, closure)
    return lambda: setattr(owner, name, saved)


def _drop_plain_slot(name: str) -> None:
    """Take away the slot that a third party's restoring leaves on torch.Tensor even where there is no guard."""
    if vars(torch.Tensor).get(name) is getattr(torch._C.TensorBase, name):
        delattr(torch.Tensor, name)


def patched_inside_restored_inside() -> None:
    with guard(report=False):
        places = ((torch.Tensor, "item"), (torch.Tensor, "__format__"), (torch, "from_numpy"))
        restore = [_put_on_top(owner, name) for owner, name in places]
        work()
        for undo in restore:
            undo()
        work()
    _drop_plain_slot("item")


def patched_inside_restored_later() -> list[str]:
    """The third party's closure stands after the exit and, later, brings our wrapper back: it must be inert."""
    own_from_numpy = torch.from_numpy
    with guard(report=False) as watching:
        restore = [_put_on_top(torch.Tensor, "item"), _put_on_top(torch, "from_numpy")]
        work()
    told = _inert(watching, "under the closure")
    for undo in restore:
        undo()
    told += _inert(watching, "brought back")
    with guard(report=False) as later:
        torch.ones(1).item()
    counts = [finding.count for finding in later.report.findings if finding.kind == "read"]
    if counts != [1]:
        told.append(f"a later guard counted one read as {counts}")
    del torch.Tensor.item  # the third party's doing, undone for the next situation
    torch.from_numpy = own_from_numpy
    return told


def _inert(watching: Any, when: str) -> list[str]:
    before = len(watching.report.findings)
    assert torch.ones(1).item() == 1.0
    shared = torch.from_numpy(np.zeros(2))
    assert shared.numpy()[0] == 0.0
    after = len(watching.report.findings)
    return [] if before == after else [f"{when}: {after - before} findings more after the exit"]


def taken_from_torch() -> list[str]:
    with guard(report=False) as watching:
        from torch import from_numpy

        item = torch.Tensor.item
        bound = torch.ones(1).item
        to = torch.Tensor.to
    told = []
    before = len(watching.report.findings)
    array = np.ones(2, dtype=np.float32)
    tensor = from_numpy(array)
    answers = [tensor.data_ptr() == array.ctypes.data, item(tensor[0]), bound(), str(to(tensor, float).dtype)]
    if answers != [True, 1.0, 1.0, "torch.float64"]:
        told.append("a function kept from inside works otherwise")
    if len(watching.report.findings) != before:
        told.append("a function kept from inside still tells the guard")
    if pickle.loads(pickle.dumps(from_numpy)) != torch.from_numpy:
        told.append("a function kept from inside does not pickle as the original")
    if from_numpy != torch.from_numpy or hash(from_numpy) != hash(torch.from_numpy):
        told.append("a function kept from inside is not equal to the original")
    return told


def hooks_of_the_user() -> list[str]:
    """A global hook the user registers inside stays; ours goes."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    calls = []
    with guard(report=False):
        handle = register_optimizer_step_post_hook(lambda *args: calls.append(1))
        work()
    before = len(calls)
    work()
    handle.remove()
    after = len(calls) - before
    return [] if before == after else [f"the user's hook ran {before} times inside, {after} after"]


def tracer_of_the_user() -> list[str]:
    """A tracer that was there before is there after, and has not been stolen from."""

    def tracer(frame: Any, event: str, argument: Any) -> Any:
        return None

    sys.settrace(tracer)
    try:
        with guard(report=False, writes="exact"):
            work()
        kept = sys.gettrace() is tracer
    finally:
        sys.settrace(None)
    return [] if kept else ["the user's trace function was taken away"]


def violation() -> list[str]:
    from tensorwatch_guard import GuardViolation

    told = ["alias='error' did not raise"]
    try:
        with guard(report=False, alias="error"):
            torch.from_numpy(np.ones(2))
    except GuardViolation:
        told = []
    return told


SITUATIONS: tuple[Callable[[], Any], ...] = (
    plain,
    body_raises,
    nested,
    not_last_in_first_out,
    entered_again,
    start_and_stop,
    decorated,
    in_threads,
    checking,
    exactly,
    with_ops,
    ops_raises,
    beside_modes,
    mocked_inside,
    mocked_around,
    patched_inside_restored_inside,
    patched_inside_restored_later,
    taken_from_torch,
    hooks_of_the_user,
    tracer_of_the_user,
    violation,
)


def run_situations() -> dict[str, list[str]]:
    """Each situation with the state before and after it held together."""
    work()  # what PyTorch itself sets up at the first use is none of the guard's
    told: dict[str, list[str]] = {}
    kept = {owner: dict(vars(owner)) for owner in (torch, torch.Tensor)}
    for situation in SITUATIONS:
        before = state()
        try:
            told[situation.__name__] = list(situation() or [])
        except Exception:
            told[situation.__name__] = [traceback.format_exc()[-1500:]]
        told[situation.__name__] += changes(before, state())
        _repair(kept)
    return told


def _repair(kept: dict[Any, dict[str, Any]]) -> None:
    """Put back what a situation left changed, so that the next one tells of itself only."""
    for owner, names in kept.items():
        for name in [name for name in vars(owner) if name not in names]:
            delattr(owner, name)
        for name, value in names.items():
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)


# --- dynamo


def _described(value: Any) -> str:
    return f"{type(value).__name__} {getattr(value, '__module__', None)}.{getattr(value, '__qualname__', None)}"


def _proxies() -> list[str]:
    import wrapt

    found = []
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("torch._dynamo") or module is None:
            continue
        for key, value in list(vars(module).items()):
            held = [value]
            if isinstance(value, dict):
                held += [*value.keys(), *value.values()]
            elif isinstance(value, (set, frozenset, list, tuple)):
                held += list(value)
            found += [f"{name}.{key}" for one in held if issubclass(type(one), wrapt.ObjectProxy)]
    return found


METHODS = ("item", "numpy", "to", "cpu", "tolist", "__bool__", "__array__")


def tables() -> dict[str, Any]:
    """What dynamo holds: its rule map by description, its sets of ids by the public names that are in them."""
    from torch._dynamo import trace_rules

    rules = trace_rules.get_torch_obj_rule_map()
    sets = {
        name: value
        for name, value in vars(trace_rules).items()
        if type(value).__name__ == "FunctionIdSet" and not name.startswith("__")
    }
    owners = {"torch": torch, "Tensor": torch.Tensor, "functional": nn.functional, "cuda": torch.cuda}
    names = [(f"{label}.{name}", owner, name) for label, owner in owners.items() for name in dir(owner)]
    inside: dict[str, list[str]] = {}
    for label, ids in sets.items():
        function_ids = ids()
        inside[label] = [full for full, owner, name in names if id(getattr(owner, name, None)) in function_ids]
    watched = ["from_numpy", "as_tensor", "tensor", "nonzero", "equal", "unique", "bincount", "asarray", "frombuffer"]
    return {
        "rules": sorted(f"{_described(key)} -> {rule.__name__}" for key, rule in rules.items()),
        "ids": inside,
        "looked up": {name: str(trace_rules.lookup(getattr(torch, name))) for name in watched},
        "methods": {name: str(trace_rules.lookup(getattr(torch.Tensor, name))) for name in METHODS},
        "proxies": _proxies(),
    }


def main() -> int:
    """Run what the arguments name and print it."""
    told: Any
    if sys.argv[1] == "situations":
        told = run_situations()
    elif sys.argv[2:] == ["guard"]:
        with guard(report=False):
            work()
            compiled = torch.compile(lambda x: x.to(torch.float64).sum() * 2, backend="eager")
            compiled(torch.ones(2))
            tables()
        told = tables()
    else:
        work()
        torch.compile(lambda x: x.to(torch.float64).sum() * 2, backend="eager")(torch.ones(2))
        told = tables()
    print("\n" + json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
