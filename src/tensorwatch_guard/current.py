"""What is going on in this thread right now: the open happenings, and whether a call can be looked at.

One happening is one finding. A watched call opens a happening; an absorbing one swallows the watched calls that torch or
this package make inside it, never those made from anybody else's frame. A call that comes back to us for the same tensor
(through a function mode or a subclass) is the same happening.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import torch

from .private_api import missing
from .sites import TORCH

if TYPE_CHECKING:
    from .collector import Collector, Shard, Tally
    from .operations import Operation
    from .routes import Busy, Instruction
    from .sites import Trail

if lacking := missing():
    raise ImportError(f"tensorwatch_guard cannot watch PyTorch {torch.__version__}: it has no {', '.join(lacking)}")

Tensor = torch.Tensor
PLAIN: Final = frozenset({torch.Tensor, torch.nn.Parameter, torch.nn.Buffer})
"""Types whose attributes can be read without calling anybody's ``__torch_function__``."""

function_mode_on = torch._C._is_torch_function_mode_enabled
without_function_dispatch = torch._C.DisableTorchFunction


class Happening:
    """A watched call that is running."""

    __slots__ = ("absorbs", "data", "ops", "outer", "row", "seen_by", "started", "subject", "trail", "waits")

    def __init__(self, row: Operation, subject: object, trail: Trail, outer: Happening | None) -> None:
        self.row = row
        self.subject = subject
        self.trail = trail
        self.outer = outer
        self.absorbs = row.absorbs
        self.seen_by: tuple[str, ...] = ("calls",)
        self.waits = 0
        self.ops: tuple[Any, ...] = ()
        """What the ops layer saw in it: ``probes.effects.Effect``."""
        self.started = 0
        self.data: Any = None

    def swallows(self, row: Operation, subject: object, kind_of_file: int) -> bool:
        """Whether a watched call made now belongs to this happening or to one around it."""
        if kind_of_file >= TORCH:
            happening: Happening | None = self
            while happening is not None:
                if happening.absorbs:
                    return True
                happening = happening.outer
        return self.row is row and self.subject is subject and subject is not None


class Here:
    """One thread's state. ``busy`` is set while our own code runs torch or NumPy calls that must not be seen."""

    __slots__ = (
        "busy", "busy_lines", "due", "generation", "kept", "name", "only", "open", "sample", "shards", "step_looks",
        "step_reads", "stepping", "temporaries", "told", "traced",
    )  # fmt: skip

    def __init__(self) -> None:
        self.open: Happening | None = None
        self.busy = False
        self.sample = False
        """The next read is timed."""
        self.told = 0
        """Syncs and transfers emitted: whether a happening was told is seen from it."""
        self.traced: tuple[Trail, list[Tally]] | None = None
        """The last wait that only the trace layer saw: the ops layer may know better what it was."""
        self.stepping = False
        """An optimizer's step runs here: its own reads, ``step_reads`` so far, are told as one."""
        self.step_reads = 0
        self.step_looks = False
        """Whether shared memory is looked at around that step."""
        self.temporaries = 0
        """So many more of PyTorch's own short-lived aliases are passed without a question, see ``probes/temporaries.py``."""
        self.due: list[Any] = []
        """What policy has to say once our own work in this thread is done."""
        self.generation = -1
        self.kept: dict[Collector, Shard] = {}
        self.shards: tuple[tuple[Shard, Collector], ...] = ()
        self.only: Shard | None = None
        """The shard, where there is one and nobody asks to hear of each event."""
        self.busy_lines: dict[Instruction, Busy] = {}
        """Instructions that make many watched calls, with the tallies in ``only`` that count them."""
        self.name = threading.current_thread().name


class Local(threading.local):
    """``local.here`` is made at a thread's first watched call."""

    here: Here

    def __init__(self) -> None:
        self.here = Here()


LOCAL: Final = Local()


def is_plain(value: object) -> bool:
    """Whether the attributes of a tensor can be read without anybody noticing."""
    return type(value) in PLAIN and not function_mode_on()


def on_cpu(tensor: torch.Tensor) -> bool:
    """``tensor.is_cpu`` without a call of the user's ``__torch_function__``."""
    if is_plain(tensor):
        return tensor.is_cpu
    with without_function_dispatch():
        return tensor.is_cpu


def is_real(tensor: object) -> bool:
    """False for fake, functional and vmapped tensors: they stand for values that are not there."""
    if isinstance(tensor, Tensor) and type(tensor) in PLAIN:
        return not (torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor))
    name = type(tensor).__name__
    return name not in ("FakeTensor", "FunctionalTensor")
