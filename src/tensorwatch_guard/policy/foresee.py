"""What a watched call will do before it runs: wait for a device, or move data, and in which direction.

Nothing is run to find out: the tensors' devices and the arguments say it, through the predicates of the operations
table. What cannot be foreseen is heard of after the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from ..operations.copies import device_name, move_of
from ..operations.model import Move

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..words import Direction, Kind

Tensor = torch.Tensor
_ONE_ELEMENT: Final = frozenset(
    f"Tensor.{name}" for name in ("item", "__bool__", "__int__", "__float__", "__index__", "__complex__")
)
_STAND_INS: Final = frozenset({"FakeTensor", "FunctionalTensor"})
_CPU: Final = torch.device("cpu")


class Foreseen(NamedTuple):
    """One thing that the call will do, if it is let run."""

    kind: Kind
    direction: Direction | None
    blocking: bool
    nbytes: int
    details: dict[str, Any]


def foresee(call: Any, suffix: str = "") -> tuple[Foreseen, ...]:
    """What a call will do.

    Args:
        call: a watched call that has not run: ``row``, ``subject``, ``args``, ``kwargs``, ``method``.
        suffix: what stands behind a device's name in findings (" (simulated)").
    """
    known: tuple[Foreseen, ...] | None = getattr(call, "foreseen", None)
    if known is not None:  # a dispatched operation: the ops layer has looked
        return known
    look = _BY_PROBE.get(call.row.probe)
    if look is None:
        return ()
    with torch._C.DisableTorchFunction():
        found = look(call)
    if found is None:
        return ()
    return (_moved(found, suffix) if isinstance(found, Move) else _waits(found, suffix),)


def _waits(device: torch.device, suffix: str) -> Foreseen:
    if device.type == "cpu":
        return Foreseen("read", None, False, 0, {})
    return Foreseen("sync", None, True, 0, {"device": f"{device}{suffix}", "seen_by": ["calls"]})


def _moved(move: Move, suffix: str) -> Foreseen:
    details = {
        "direction": move.direction,
        "src": move.src_device + (suffix if move.src_device != "cpu" else ""),
        "dst": move.dst_device + (suffix if move.dst_device != "cpu" else ""),
        "pinned": move.pinned,
        "non_blocking": move.non_blocking,
        "seen_by": ["calls"],
    }
    return Foreseen("transfer", move.direction, move.blocking, move.nbytes, details)


Found = torch.device | Move | None
"""A device: its tensor is looked at by the host, which is a wait unless it is the CPU. A move: data crosses."""


def _real(value: object) -> bool:
    return isinstance(value, Tensor) and not value.is_meta and type(value).__name__ not in _STAND_INS


def _read(call: Any) -> Found:
    tensor = call.subject
    if not _real(tensor) or (call.row.name in _ONE_ELEMENT and tensor.numel() != 1):
        return None  # PyTorch refuses: its own exception is the user's
    return tensor.device  # type: ignore[no-any-return]


def _look(call: Any) -> Found:
    arguments = (call.subject, *call.args) if call.method else call.args
    tensors = [value for value in (*arguments, *call.kwargs.values()) if isinstance(value, Tensor)]
    when = call.row.waits_call or call.row.waits
    if not tensors or not all(map(_real, tensors)):
        return None
    if when == "never" or (callable(when) and not when(arguments, call.kwargs)):
        return None
    return next((tensor.device for tensor in tensors if not tensor.is_cpu), _CPU)


def _wait(call: Any) -> Found:
    device = getattr(call.subject, "device", None)
    if isinstance(device, torch.device):
        return device
    current = torch.accelerator.current_accelerator()
    return current if current is not None else torch.device(call.row.name.split(".")[1])


# -- copies ------------------------------------------------------------------------------------------------------------


def _move(call: Any) -> Found:
    source, name = call.subject, call.row.name
    if name == "Tensor.copy_":
        into, source = source, call.args[0] if call.args else call.kwargs.get("src")
        if not (_real(source) and _real(into)):
            return None
        flag = call.args[1] if len(call.args) > 1 else call.kwargs.get("non_blocking", False)
        return move_of(source, into.device, into=into, non_blocking=bool(flag))
    if not _real(source) or name == "Tensor.pin_memory":
        return None
    device, dtype, non_blocking = _target(name, call.args, call.kwargs)
    return None if device is None else move_of(source, device, dtype=dtype, non_blocking=non_blocking)


def _target(name: str, args: Any, kwargs: Any) -> tuple[torch.device | None, torch.dtype | None, bool]:
    """Where ``to``, ``cpu``, ``cuda``, ``xpu`` and ``type`` bring a tensor; no device where it stays."""
    if name == "Tensor.to":
        plain = {key: value for key, value in kwargs.items() if key != "copy"}
        flags = [value for value in args if isinstance(value, bool)]
        values = [value for value in args if not isinstance(value, bool)]
        plain.setdefault("non_blocking", bool(flags and flags[0]))
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*values, **plain)
        return device, dtype, non_blocking
    if name == "Tensor.cpu":
        return _CPU, None, False
    if name == "Tensor.type":
        return _of_type(args[0] if args else kwargs.get("dtype")), None, bool(kwargs.get("non_blocking", False))
    kind = name.rpartition(".")[2]
    wanted = args[0] if args and not isinstance(args[0], bool) else kwargs.get("device")
    flags = [value for value in args if isinstance(value, bool)]
    return _device(wanted, kind), None, bool(kwargs.get("non_blocking", flags and flags[0]))


def _device(wanted: Any, kind: str) -> torch.device:
    if wanted is None:
        return torch.device(kind, torch.get_device_module(kind).current_device())
    return torch.device(kind, wanted) if isinstance(wanted, int) else torch.device(wanted)


def _of_type(wanted: Any) -> torch.device | None:
    """``x.type("torch.cuda.FloatTensor")`` names a device, ``x.type(torch.float64)`` does not."""
    if wanted is None or isinstance(wanted, torch.dtype):
        return None
    parts = (wanted if isinstance(wanted, str) else f"{wanted.__module__}.{wanted.__name__}").split(".")
    return _device(None, parts[1]) if len(parts) == 3 else _CPU


def _build(call: Any) -> Found:
    name = call.row.name
    data = call.args[0] if call.args else next(iter(call.kwargs.values()), None)
    if name == "Tensor.new_tensor":
        target = call.kwargs.get("device") or call.subject.device
        data = call.args[0] if call.args else call.kwargs.get("data")
    elif name == "torch.Tensor":
        return None  # builds on the CPU, or says so afterwards
    else:
        keyword = call.kwargs.get("device")
        if isinstance(data, Tensor) and keyword is None:
            return None  # stays where it is
        target = keyword if keyword is not None else torch.get_default_device()
    device = torch.device(target)
    if isinstance(data, Tensor):
        return move_of(data, device) if _real(data) else None
    if device.type in ("cpu", "meta"):
        return None
    if isinstance(data, list | tuple) and any(isinstance(value, Tensor) and not value.is_cpu for value in data):
        return device
    return Move("h2d", "cpu", device_name(device), 0, False, False, True)


def _share(call: Any) -> Found:
    tensor = call.subject
    if call.row.name != "Tensor.numpy" or not _real(tensor) or tensor.is_cpu:
        return None
    forced = call.kwargs.get("force", bool(call.args and call.args[0]))
    return move_of(tensor, _CPU) if forced else None


def _module(call: Any) -> Found:
    module, name = call.subject, call.row.name
    if not isinstance(module, torch.nn.Module):
        return None
    if name == "Module.load_state_dict":
        return _loaded(module, call.args[0] if call.args else call.kwargs.get("state_dict"))
    device, dtype, non_blocking = _target(name.replace("Module", "Tensor"), call.args, call.kwargs)
    if device is None:
        return None
    tensors = (*module.parameters(), *module.buffers())
    moves = [move_of(tensor, device, dtype=dtype, non_blocking=non_blocking) for tensor in tensors if _real(tensor)]
    return _sum([move for move in moves if move is not None])


def _loaded(module: torch.nn.Module, state: Any) -> Found:
    own = dict((*module.named_parameters(), *module.named_buffers()))
    pairs = [(value, own[key]) for key, value in dict(state or {}).items() if _real(value) and key in own]
    return _sum([move for value, into in pairs if (move := move_of(value, into.device, into=into)) is not None])


def _sum(moves: list[Move]) -> Move | None:
    if not moves:
        return None
    first = moves[0]
    nbytes = sum(move.nbytes for move in moves)
    return Move(
        first.direction, first.src_device, first.dst_device, nbytes, first.pinned, first.non_blocking, first.blocking
    )


_BY_PROBE: Final[dict[str | None, Callable[[Any], Found]]] = {
    "read": _read,
    "print": _read,
    "look": _look,
    "wait": _wait,
    "move": _move,
    "build": _build,
    "share": _share,
    "module": _module,
}
