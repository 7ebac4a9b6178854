"""Values that autograd saved for backward and that were written afterwards, behind its version counter.

NumPy's writes, fused optimizers and ``.data`` do not raise a tensor's ``_version``, so PyTorch's own check stays
mute and the gradients are silently wrong. Every node of a graph carries the number it was made with; a thread's
counter at the time of a write tells nodes that saved the old contents from nodes that saved the new ones.

Nothing is unpacked: only values saved without hooks are looked at, so checkpointed parts do not run again and
offloaded ones stay where they are. No hook is installed, no version changes, nothing is kept.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from .addresses import address_of
from .saved import saved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NODE_LIMIT: Final = 10_000
"""A walk ends after so many nodes: 2 to 10 ms."""
_STACK_OF_A_NODE: Final = 512
"""PyTorch 2.13 frees nodes that Python has seen one within another, in 190 bytes of stack each: 50,000 in a row overflow one
of 8 MiB, and end a process whose graph nobody else would have walked."""
_SMALL_STACK: Final = 1 << 20
UNNUMBERED: Final = 1 << 63
"""Nodes that belong to no forward pass (``AccumulateGrad``) have numbers from here on."""
SLACK: Final = 64
"""A node may be a little older than what it leads to: views are made again after their base was written in place."""

_next_number = getattr(torch._C._autograd, "_get_sequence_nr", None)
_grad_is_on: Final = torch.is_grad_enabled
_APPLY: Final = getattr(torch.autograd.Function.apply, "__code__", None)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Memory ``[low, high)`` that was written at some time in an interval.

    ``sequences`` has ``sequence_number()`` at the interval's start and end for each thread that may have built the
    graph. The numbers of one thread say nothing of another's nodes: without those of the thread that asks, and where
    two threads' numbers disagree, a value is only possibly stale.
    """

    index: int
    """Any number; comes back with what is found."""
    low: int
    high: int
    sequences: Mapping[int, tuple[int, int]]
    counted: bool = False
    """PyTorch wrote in the interval, and its counter knows: what was saved before that it refuses by itself. Somebody else may
    have written there, too."""
    known_to: frozenset[int] = frozenset()
    """Storages whose counters know: PyTorch itself refuses what was saved of them."""
    thread: int = field(init=False)
    """The only thread with numbers, 0 where there is none or more than one,"""
    end: int = field(init=False)
    """and the number from which on every node of that thread was made after the write."""

    def __post_init__(self) -> None:
        thread, end = 0, UNNUMBERED << 1
        if len(self.sequences) == 1:
            ((thread, (_, end)),) = self.sequences.items()
        object.__setattr__(self, "thread", thread)
        object.__setattr__(self, "end", end)


@dataclass(frozen=True, slots=True)
class Stale:
    """A saved value that was (``certain``) or may have been written since it was saved.

    ``suspect`` is the ``index`` of the suspect, ``attribute`` where to find the value on the node.
    """

    suspect: int
    node: str
    attribute: str
    certain: bool


@dataclass(slots=True)
class Walk:
    """What a walk over a graph found; ``cut`` where it ended at ``NODE_LIMIT``."""

    found: list[Stale] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)
    nodes: int = 0
    cut: bool = False


def sequence_number() -> int:
    """The number that this thread's next node will get, or -1 where PyTorch does not tell.

    In the forward of a custom function its node has a number already and has saved nothing yet: there it is the number of that.
    """
    if _next_number is None:
        return -1
    number = int(_next_number())
    return number if _grad_is_on() or not _is_in_forward() else number - 1


def _is_in_forward() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _APPLY:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def stale(
    roots: Sequence[Any],
    suspects: Sequence[Suspect],
    inputs: Sequence[Any] | None = None,
    limit: int | None = None,
) -> list[Stale]:
    """Saved values in the graphs of ``roots`` that were written since they were saved.

    Args:
        roots: The tensors (or gradient edges) that ``backward`` is to start from.
        suspects: Memory that was written unseen.
        inputs: What gradients are wanted for; None for all leaves. Values on no way to them are left out.
        limit: End after so many nodes; None for what the stack of any thread can bear.
    """
    return walk(roots, suspects, inputs, limit).found


def walk(
    roots: Sequence[Any],
    suspects: Sequence[Suspect],
    inputs: Sequence[Any] | None = None,
    limit: int | None = None,
) -> Walk:
    """As ``stale``, with the values themselves and whether the walk was cut. Drop it before backward runs."""
    result = Walk()
    with torch._C.DisableTorchFunction():
        graph = _Graph(roots, node_limit() if limit is None else limit)
        result.nodes, result.cut = len(graph.parents), graph.cut
        needed = graph.needed(inputs) if inputs is not None else None
        now = sequence_number()
        foreign = graph.foreign or any(now <= n < UNNUMBERED for n in graph.numbers)
        judge = _Judge(suspects, min((number for _, number in graph.nodes), default=0), foreign=foreign)
        for node, number in graph.nodes if judge.suspects else ():
            if (needed is None or node in needed) and judge.may_be_stale(number):
                _inspect(node, number, judge, result)
    return result


def node_limit() -> int:
    """How many nodes a walk may see: the graph may be freed on any thread, also on one with a small stack."""
    stack = threading.stack_size() or _SMALL_STACK << 4
    if resource is None:
        stack = min(stack, _SMALL_STACK)
    else:
        soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
        stack = min(stack, 2 * _SMALL_STACK if soft == resource.RLIM_INFINITY else soft)  # unlimited: threads have 2 MiB
    return min(NODE_LIMIT, stack // _STACK_OF_A_NODE)


class _Graph:
    """The nodes that can be reached from roots."""

    def __init__(self, roots: Sequence[Any], limit: int) -> None:
        self.nodes: list[tuple[Any, int]] = []
        self.parents: dict[Any, list[Any]] = {}
        self.cut = False
        self.foreign = False
        starts = [root.grad_fn if isinstance(root, torch.Tensor) else getattr(root, "node", None) for root in roots]
        self.parents.update((node, []) for node in starts if node is not None)
        self.numbers = [_number(node) for node in self.parents]
        todo = list(self.parents)
        while todo:
            node = todo.pop()
            number = _number(node)
            self.nodes.append((node, number))
            for child, _ in node.next_functions:
                if child is None:
                    continue
                known = self.parents.get(child)
                if known is not None:
                    known.append(node)
                elif len(self.parents) >= limit:
                    self.cut = True
                else:
                    self.parents[child] = [node]
                    todo.append(child)
                    if number + SLACK < _number(child) < UNNUMBERED:
                        self.foreign = True  # made after the node that leads to it: two threads' numbers

    def needed(self, inputs: Sequence[Any]) -> set[Any]:
        """The nodes that run when only the gradients of ``inputs`` are wanted."""
        tensors = [one for one in inputs if isinstance(one, torch.Tensor)]
        leaves = {id(tensor) for tensor in tensors if tensor.is_leaf}
        todo: list[Any] = [tensor.grad_fn for tensor in tensors if not tensor.is_leaf]
        todo += [one.node for one in inputs if not isinstance(one, torch.Tensor)]
        todo += [node for node in self.parents if leaves and id(getattr(node, "variable", None)) in leaves]
        found: set[Any] = set()
        while todo:
            for parent in self.parents.get(todo.pop(), ()):
                if parent not in found:
                    found.add(parent)
                    todo.append(parent)
        return found


class _Judge:
    """Compares node numbers with those at both ends of each suspect's interval."""

    def __init__(self, suspects: Sequence[Suspect], first: int, *, foreign: bool) -> None:
        """``first``: the least number of the graph's nodes. What was written before that node was made is left out."""
        self._here = here = threading.get_ident()
        self._foreign = foreign
        if not foreign:
            suspects = [one for one in suspects if one.end > first or one.thread != here]
        self.suspects = suspects
        self.low = min((suspect.low for suspect in suspects), default=0)
        self.high = max((suspect.high for suspect in suspects), default=0)
        self.until = [one.end if one.thread == here and not foreign else UNNUMBERED << 1 for one in suspects]
        """For each suspect the number from which on every node was made after it."""
        self._ends = max(self.until, default=0)

    def may_be_stale(self, number: int) -> bool:
        """A quick no for nodes made after every write."""
        return number < self._ends

    def certain(self, suspect: Suspect, number: int, *, checked: bool) -> bool | None:
        """True: the node was made before the write. False: perhaps. None: after it.

        ``checked``: PyTorch compares the value's version.
        """
        if self._foreign or number >= UNNUMBERED or self._here not in suspect.sequences:
            return False
        before = None if suspect.counted and checked else True
        verdicts = {
            before if number < start else (False if number < end else None) for start, end in suspect.sequences.values()
        }
        return verdicts.pop() if len(verdicts) == 1 else False


def _number(node: Any) -> int:
    return int(node._sequence_nr())


def _inspect(node: Any, number: int, judge: _Judge, result: Walk) -> None:
    """Hold the plainly saved values of a node against the suspects."""
    for name, value, checked in saved(node):
        if not value.is_cpu:
            continue
        try:
            base = address_of(value)
            if not base or base >= judge.high or (value.is_contiguous() and base + value.nbytes <= judge.low):
                continue
            item = value.element_size()
            axes = sorted(zip(value.stride(), value.shape, strict=True), reverse=True)
        except (RuntimeError, NotImplementedError, TypeError):  # no memory of its own: a wrapper, a sparse tensor
            continue
        if not value.numel():
            continue
        moving = [(step * item, length) for step, length in axes if length > 1 and step]
        for suspect, until in zip(judge.suspects, judge.until, strict=True):
            if number >= until or not touches(base, moving, item, suspect.low, suspect.high):
                continue
            if checked and suspect.known_to and value.untyped_storage()._cdata in suspect.known_to:
                continue
            certain = judge.certain(suspect, number, checked=checked)
            if certain is not None:
                result.found.append(Stale(suspect.index, node.name(), name, certain))
                result.values.append(value)


def touches(base: int, axes: Sequence[tuple[int, int]], item: int, low: int, high: int) -> bool:
    """Whether a strided tensor has an element in ``[low, high)``.

    Args:
        base: Address of its first element.
        axes: (step in bytes > 0, length > 1) of each dimension that moves, the largest step first.
        item: Bytes of an element.
        low: First address.
        high: Address after the last one.
    """
    reach = item + sum(step * (length - 1) for step, length in axes)
    if base >= high or low >= base + reach:
        return False
    if not axes or (low <= base and base + item <= high):
        return True
    step, length = axes[0]
    inner = reach - step * (length - 1)
    first = max(0, -(-(low - base - inner + 1) // step))
    last = min(length - 1, (high - 1 - base) // step)
    if last - first > 1:  # one between the two ends begins within
        return True
    return any(touches(base + at * step, axes[1:], item, low, high) for at in range(first, last + 1))
