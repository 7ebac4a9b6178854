"""Kernels: one way for every operation that has a CPU kernel.

A kernel gets device tensors, gives the CPU kernel their twins, and lifts the results back. When the host
waits and what crosses between devices is read from the operations table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch

from tensorwatch_guard.operations import BY_OVERLOAD, waits

from .messages import check_devices
from .refusal import cannot
from .schema import DEVICE, GENERATOR, PINNED, PLAIN, TENSOR, TENSORS, Plan, plan_of
from .streams import is_device_generator
from .tensors import CPU, ON_CPU, fresh_twin, host_kernel, move_into, to_device, to_host

if TYPE_CHECKING:
    from .machine import Machine

Kernel = Callable[..., Any]
# Kernels that never look at the device: they change sizes, strides and storages of the device tensor itself.
_NATIVE: Final = ("set_", "is_set_to")
_Tensor: Final = torch.Tensor
_NUMBERS: Final = 256
"""Added to a device's number: numbers stand where the schema says Tensor."""
_scalar = host_kernel(torch.ops.aten.scalar_tensor.default)
_bump: Final = torch.autograd.graph.increment_version
_scratch = host_kernel(torch.ops.aten.empty.memory_format)


def _lower_list(values: Sequence[Any], index: int) -> tuple[list[Any], int, bool]:
    """(twins of a list, the device's number, whether something in it is elsewhere)."""
    twins, stranger = [], False
    for value in values:
        if not isinstance(value, _Tensor):
            twins.append(value)
            continue
        at = value.get_device()
        if at < 0:
            stranger = True
            twins.append(value)
            continue
        stranger |= index not in (-1, at)
        index = at
        twins.append(to_host(value))
    return twins, index, stranger


def _plain_value(kind: int, value: Any) -> Any:
    """A device becomes the CPU, memory is never pinned, a generator must be one of the device."""
    if kind == DEVICE:
        return CPU
    if kind == PINNED:
        if value:
            raise RuntimeError("Only dense CPU tensors can be pinned")
        return None
    if kind == GENERATOR and not is_device_generator(value):
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    return value


def _lower_keywords(
    kwargs: Mapping[str, Any], named: Mapping[str, int], index: int, machine: Machine
) -> tuple[dict[str, Any], int, bool]:
    """(host keywords, device number, whether some tensor is elsewhere); ``device=`` counts where no tensor does."""
    keywords, stranger = dict(kwargs), False
    for name, value in kwargs.items():
        kind = named[name]
        if value is None or kind == PLAIN:
            continue
        if kind in (TENSOR, TENSORS):
            twins, index, odd = _lower_list((value,) if kind == TENSOR else value, index)
            keywords[name] = twins[0] if kind == TENSOR else twins
            stranger |= odd
            continue
        if kind == DEVICE and index < 0:
            index = machine.index(value)
        keywords[name] = _plain_value(kind, value)
    return keywords, index, stranger


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    values = [*args, *kwargs.values()]
    flat = [item for value in values for item in (value if isinstance(value, (list, tuple)) else (value,))]
    return [item for item in flat if isinstance(item, _Tensor) and not item.is_cpu]


def _announcer(plan: Plan, machine: Machine) -> Kernel | None:
    """What comes before an operation: late copies it needs, its wait, its moves; None where nothing does."""
    row, late = BY_OVERLOAD[plan.name], machine.late
    looks = row is not None and row.waits != "never"
    moves = None if row is None else row.moves
    if late is None and not looks and moves is None:
        return None

    def announce(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if late is not None and late.pending:
            late.before(_tensors(args, kwargs))
        if looks and row is not None and waits(row, args, kwargs):
            machine.wait()
        if moves is not None:
            for move in moves(args, kwargs):
                machine.moved(move)

    return announce


def _lowering(  # noqa: C901 -- the hot way: one loop, no calls
    plan: Plan, machine: Machine
) -> Kernel:
    """From arguments to (host arguments, host keywords, device number, whether numbers stand for tensors)."""
    kinds, named, current = plan.kinds, plan.named, machine.index
    announce = _announcer(plan, machine)

    def lower(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], int, bool]:
        index, strangers, numbers = -1, False, False
        host: list[Any] = []
        for kind, value in zip(kinds, args):  # noqa: B905 -- arguments with defaults may be left out
            lowered = value
            if kind == TENSOR and isinstance(value, _Tensor):
                at = value.get_device()
                if at >= 0:
                    strangers |= index not in (-1, at)
                    index = at
                    lowered = to_host(value)
                else:
                    strangers = True
            elif kind != PLAIN and value is not None:
                if kind == TENSORS:
                    lowered, index, odd = _lower_list(value, index)
                    strangers |= odd
                elif kind == TENSOR:
                    numbers = True
                else:
                    lowered = _plain_value(kind, value)
            host.append(lowered)
        keywords: dict[str, Any] = {}
        if kwargs:
            keywords, index, odd = _lower_keywords(kwargs, named, index, machine)
            strangers |= odd
        if strangers:
            check_devices(plan, args, kwargs)
        if announce is not None:
            announce(args, kwargs)
        return host, keywords, index if index >= 0 else current(), numbers

    return lower


def _with_numbers(plan: Plan) -> Kernel:
    """The CPU kernel for arguments with numbers where the schema says Tensor: Python kernels receive ``x * 2`` so."""
    overload, call = plan.overload, host_kernel(plan.overload)

    def run(host: list[Any], keywords: dict[str, Any]) -> Any:
        with torch._C.DisableTorchFunction():
            try:
                return overload._op(*host, **keywords)  # takes numbers for the commonest operations only
            except RuntimeError as error:
                if "Unable to cast" not in str(error):
                    raise
        like = next(value for value in host if isinstance(value, _Tensor))
        for place, (kind, value) in enumerate(zip(plan.kinds, host)):  # noqa: B905
            if kind == TENSOR and value is not None and not isinstance(value, _Tensor):
                host[place] = _scalar(ON_CPU, value, dtype=torch.result_type(like, value), device=CPU)
        return call(ON_CPU, *host, **keywords)

    return run


def _lift(result: Any, args: Sequence[Any], host: Sequence[Any], index: int) -> Any:
    """Results of the CPU kernel as device tensors; a twin that comes back is its device tensor."""
    if isinstance(result, _Tensor):
        for value, twin in zip(args, host):  # noqa: B905
            if twin is result:
                return value
        return to_device(result, index)
    if isinstance(result, (tuple, list)):
        return type(result)([_lift(item, args, host, index) for item in result])
    return result


def _quick_lowering(plan: Plan) -> Callable[[Sequence[Any], list[Any]], int]:
    """The short way for plain arguments: fills ``host``, returns the device's number, or -1 where care is needed.

    ``_NUMBERS`` is added where a number stands for a tensor.
    """
    kinds = plan.kinds

    def lower(args: Sequence[Any], host: list[Any]) -> int:
        index, numbers = -1, 0
        for kind, value in zip(kinds, args):  # noqa: B905
            if kind == TENSOR and isinstance(value, _Tensor):
                at = value.get_device()
                if at < 0 or index not in (-1, at):
                    return -1
                index = at
                host.append(to_host(value))
            elif kind == PLAIN or value is None:
                host.append(value)
            elif kind == TENSOR:
                numbers = _NUMBERS
                host.append(value)
            else:
                return -1
        return index + numbers if index >= 0 else -1

    return lower


def _with_results(plan: Plan, machine: Machine) -> Kernel:
    quick, lower, numbered = _quick_lowering(plan), _lowering(plan, machine), _with_numbers(plan)
    call, plain = host_kernel(plan.overload), _announcer(plan, machine) is None

    def kernel(*args: Any, **kwargs: Any) -> Any:
        if plain and not kwargs:
            host: list[Any] = []
            index = quick(args, host)
            if index >= _NUMBERS:
                return _lift(numbered(host, {}), args, host, index - _NUMBERS)
            if index >= 0:
                return _lift(call(ON_CPU, *host), args, host, index)
        host, keywords, index, numbers = lower(args, kwargs)
        result = numbered(host, keywords) if numbers else call(ON_CPU, *host, **keywords)
        return _lift(result, args, host, index)

    return kernel


def _in_place(plan: Plan, machine: Machine) -> Kernel:
    quick, lower, numbered = _quick_lowering(plan), _lowering(plan, machine), _with_numbers(plan)
    call, plain, place = host_kernel(plan.overload), _announcer(plan, machine) is None, plan.inplace or 0

    def kernel(*args: Any, **kwargs: Any) -> Any:
        host: list[Any] = []
        index = quick(args, host) if plain and not kwargs else -1
        if index >= 0:
            if index >= _NUMBERS:
                numbered(host, {})
            else:
                call(ON_CPU, *host)
            return args[place]
        host, keywords, _, numbers = lower(args, kwargs)
        if numbers:
            numbered(host, keywords)
        else:
            call(ON_CPU, *host, **keywords)
        return args[place]

    return kernel


def _into_outs(plan: Plan, machine: Machine) -> Kernel:
    """``out=`` tensors may be resized: the kernel is given memory that cannot grow, and where it must, new memory."""
    lower, call, outs = _lowering(plan, machine), host_kernel(plan.overload), plan.outs
    numbered = _with_numbers(plan)

    def run(host: list[Any], keywords: dict[str, Any], numbers: bool) -> Any:
        return numbered(host, keywords) if numbers else call(ON_CPU, *host, **keywords)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        host, keywords, index, numbers = lower(args, kwargs)
        given = {name: kwargs[name] for name in outs if isinstance(kwargs.get(name), _Tensor)}
        twins = {name: fresh_twin(tensor) for name, tensor in given.items()}
        try:
            run(list(host), {**keywords, **twins}, numbers)
        except RuntimeError as error:
            if "not resizable" not in str(error):
                raise
            twins = {
                name: _scratch(ON_CPU, (0,), dtype=tensor.dtype, device=CPU) for name, tensor in given.items()
            }
            run(host, {**keywords, **twins}, numbers)
        for name, tensor in given.items():
            twin = twins[name]
            if twin.shape != tensor.shape or twin.data_ptr() != tensor.data_ptr():
                move_into(tensor, twin, index)
        results = tuple(kwargs[name] for name in outs)
        if not plan.returns:
            return None
        return results if len(results) > 1 else results[0]

    return kernel


def native(overload: Any) -> Kernel:
    """The CPU kernel on the device tensor itself: for views, and for what changes sizes and storages only."""
    return partial(host_kernel(overload), ON_CPU)


def build(overload: Any, machine: Machine) -> Kernel:
    """The kernel of one overload."""
    plan = plan_of(overload)
    if plan.views or plan.base in _NATIVE:
        return native(overload)
    if not torch._C._dispatch_has_computed_kernel_for_dispatch_key(overload.name(), "CPU"):

        def refuse(*_: Any, **__: Any) -> Any:
            raise cannot(f"{plan.name}, which PyTorch has no CPU kernel for")

        return refuse
    if plan.outs:
        return _into_outs(plan, machine)
    kernel = _with_results(plan, machine) if plan.inplace is None else _in_place(plan, machine)
    return bumping(kernel) if plan.base.startswith("_foreach_") and plan.base.endswith("_") else kernel


def bumping(kernel: Kernel) -> Kernel:
    """A kernel that writes a list of tensors. CUDA's (``ForeachFunctors.cuh``) move the version counters themselves."""

    def bump(written: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        result = kernel(written, *args, **kwargs)
        _bump([tensor for tensor in written if not tensor.is_inference()])
        return result

    return bump
