"""Calls of PyTorch's that write where no version counter sees it: looked at before and after, so that the write is PyTorch's.

Of collectives the write may come after the call, so there it is the next look that ends them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import torch

from ..current import LOCAL, Tensor
from ..session import SESSION, Session
from ..sharing.moments import BEGIN, END
from ..sites import Trail
from .probe import Hook
from .spans import guarded, place_of, told
from .stand_in import caller, strip
from .unseen import unseen

_get_frame: Final = sys._getframe
_compiler: Final = torch.compiler
Written = Callable[[Any, tuple[Any, ...], dict[str, Any]], Iterable[Any]]
"""From instance and arguments to what may be written; nothing where nothing is."""


def _statistics(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[Any]:
    if len(args) > 5 and (args[3] is None or not args[5]):  # there are none, or they are only read: in evaluation
        return ()
    return (*args[3:5], *kwargs.values())


def _itself(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[Any]:
    return (instance,)


def _gradients(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[Any]:
    optimizer = args[0] if args else kwargs.get("optimizer")
    groups = getattr(optimizer, "param_groups", ())  # of anything else PyTorch says what it thinks
    return [parameter.grad for group in groups for parameter in group["params"]]


def _received(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[Any]:
    return list(_tensors_in(args[0] if args else next(iter(kwargs.values()), ())))


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors_in(one)


def silent_write(written: Written, *, ends: bool = True) -> Hook:
    """The probe of such a call. ``ends``: it has written when it returns."""

    @unseen
    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        session = SESSION
        if not session.sharing or not session.collectors or LOCAL.here.busy or _compiler._is_compiling_flag:
            return wrapped(*args, **kwargs)
        values = _shared(session, written, instance, args, kwargs)
        if not values:
            return wrapped(*args, **kwargs)
        frame = _get_frame(1)
        trail = place_of(session, frame)
        told(session, lambda: _begins(session, trail, values))
        try:
            result = caller(frame, wrapped)(wrapped, args, kwargs)
        except BaseException as error:
            strip(error)
            guarded(session, lambda: session.torch_boundary(trail, END))
            raise
        if ends:
            told(session, lambda: session.torch_boundary(trail, END))
        return result

    return probe


def _begins(session: Session, trail: Trail, values: list[Tensor]) -> None:
    """It is about to run; a line follower may look at all that runs in it."""
    session.torch_boundary(trail, BEGIN)
    if session.memory is not None:
        session.memory.writes.silent.begin(lambda: values, trail.code)


def _shared(session: Session, written: Written, instance: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """What may be written, if the memory of some of it is known to be shared."""
    try:
        with torch._C.DisableTorchFunction():
            values = [one for one in written(instance, args, kwargs) if isinstance(one, Tensor)]
            return values if session.knows(values) else []
    except Exception as error:
        session.fault("a silent write", error)
        return []


_STATISTICS: Final = silent_write(_statistics)
_ITSELF: Final = silent_write(_itself)
_RECEIVED: Final = silent_write(_received, ends=False)
_COLLECTIVES: Final = (
    "broadcast", "allreduce", "allreduce_coalesced", "reduce", "allgather", "all_gather_single", "allgather_coalesced",
    "all_gather_single_coalesced", "allgather_into_tensor_coalesced", "gather", "scatter", "reduce_scatter",
    "reduce_scatter_single", "reduce_scatter_single_coalesced", "reduce_scatter_tensor_coalesced", "all_to_all_single",
    "alltoall_base", "alltoall", "recv", "recv_anysource", "_allgather_base", "_reduce_scatter_base",
)  # fmt: skip
"""Methods of a process group whose first argument is what they write; which of them there are depends on PyTorch."""

SILENT_WRITES: Final[tuple[tuple[str, Hook], ...]] = (
    ("torch:batch_norm", _STATISTICS),
    ("torch:instance_norm", _STATISTICS),
    ("torch:Tensor.apply_", _ITSELF),
    ("torch:Tensor.map_", _ITSELF),
    ("torch:Tensor.map2_", _ITSELF),
    ("torch.amp.grad_scaler:GradScaler.unscale_", silent_write(_gradients)),
    *((f"torch._C._distributed_c10d:ProcessGroup.{name}", _RECEIVED) for name in _COLLECTIVES),
)
"""Python names and their probes, as in the operations table."""
