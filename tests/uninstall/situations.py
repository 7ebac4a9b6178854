"""Every awkward way to enter and leave a guard. A situation returns its further complaints, if it has any."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
import torch.utils.data
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tensorwatch_guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    _drop_plain_slot("item")
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
