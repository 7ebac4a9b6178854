"""Random programs, drawn by hypothesis: one line a step, run once from top to bottom, with the model that they should fit.

A step is a kind and a few numbers; what they mean is decided where the program stands (which variables there are), so any
list of steps is a program, and a shorter list is a simpler one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from modelled.model import Name, World

DTYPES: Final = ("float32", "int16", "uint8", "float64")
SHAPES: Final = ((6,), (3, 4), (2, 3, 2), (1,))
TO_ARRAY: Final = (
    ("{}.numpy()", "array"), ("{}.detach().numpy()", "array"), ("np.asarray({})", "array"), ("np.from_dlpack({})", "capsule"),
)  # fmt: skip
TO_TENSOR: Final = (
    ("torch.from_numpy({})", "tensor"), ("torch.as_tensor({})", "tensor"), ("torch.asarray({})", "tensor"),
)  # fmt: skip
MOST_NAMES: Final = 8


class Program:
    """Source lines and the model, grown together."""

    def __init__(self) -> None:
        self.lines: list[str] = ["# what runs inside the guard"]
        self.world = World()
        self.world.done()
        self._count = 0
        self.tidy = True

    def add(self, text: str) -> None:
        """A line is over."""
        self.lines.append(text)
        self.world.done()

    def fresh(self, letter: str) -> str:
        """A new name."""
        self._count += 1
        return f"{letter}{self._count}"

    def pick(self, number: int, side: str | None = None) -> Name | None:
        """A variable, of one side or of either."""
        found = [name for name in self.world.names.values() if side is None or name.side == side]
        return found[number % len(found)] if found else None

    @property
    def source(self) -> str:
        """The program's text."""
        return "\n".join(self.lines) + "\n"


def _make(program: Program, one: int, two: int, _: int) -> None:
    side = ("torch", "numpy")[one % 2]
    dtype, shape = DTYPES[two % len(DTYPES)], SHAPES[(one // 2) % len(SHAPES)]
    name = program.fresh("t" if side == "torch" else "a")
    program.world.made(name, side, dtype, shape)
    module = "torch" if side == "torch" else "np"
    program.add(f"{name} = {module}.zeros({shape}, dtype={module}.{dtype})")


def _share(program: Program, one: int, two: int, _: int) -> None:
    source = program.pick(one)
    if source is None or any(stride < 0 for stride in source.shows.strides):
        return
    routes = TO_ARRAY if source.side == "torch" else TO_TENSOR
    form, route = routes[two % len(routes)]
    if route == "capsule" and 0 in source.shows.strides:
        return
    name = program.fresh("a" if source.side == "torch" else "t")
    program.world.shared(name, source, route)
    program.add(f"{name} = {form.format(source.name)}")


def _slices(shows: Any, one: int, two: int) -> tuple[str, Any] | None:
    """A slice along one axis, in its spelling and as it is."""
    if not shows.ndim:
        return None
    axis = one % shows.ndim
    length = shows.shape[axis]
    start = two % length
    choices = (slice(start, None), slice(None, start + 1), slice(None, None, 2), slice(start, start + 1))
    chosen = choices[(one // 3) % len(choices)]
    parts = (*(slice(None) for _ in range(axis)), chosen)
    spelled = ", ".join(_spelled(part) for part in parts)
    return spelled, shows[parts]


def _spelled(part: slice) -> str:
    start = "" if part.start is None else part.start
    stop = "" if part.stop is None else part.stop
    return f"{start}:{stop}" + (f":{part.step}" if part.step else "")


def _view(program: Program, one: int, two: int, three: int) -> None:
    source = program.pick(three)
    if source is None:
        return
    name = program.fresh("t" if source.side == "torch" else "a")
    kind, shows = one % 6, source.shows
    if kind == 0 and shows.ndim == 2:
        program.world.viewed(name, source, shows.T)
        program.add(f"{name} = {source.name}.T")
    elif kind == 1 and source.side == "numpy" and shows.ndim:
        program.world.viewed(name, source, shows[::-1])
        program.add(f"{name} = {source.name}[::-1]")
    elif kind == 2 and shows.flags.c_contiguous:
        program.world.viewed(name, source, shows.reshape(-1))
        program.add(f"{name} = {source.name}.reshape(-1)")
    elif kind == 3 and source.side == "torch" and shows.ndim == 1:
        program.world.viewed(name, source, np.broadcast_to(shows, (2, *shows.shape)))
        program.add(f"{name} = {source.name}.expand(2, -1)")
    elif (cut := _slices(shows, one // 6, two)) is not None:
        program.world.viewed(name, source, cut[1])
        program.add(f"{name} = {source.name}[{cut[0]}]")


WHOLE: Final[dict[str, Sequence[tuple[str, bool]]]] = {
    "numpy": (("{x}[...] = {v}", False), ("{x} += {v}", True), ("np.copyto({x}, {v})", False), ("{x}.fill({v})", False)),
    "torch": (
        ("{x}.fill_({v})", False), ("{x}.add_({v})", True), ("{x}[...] = {v}", False), ("torch.add({x}, {v}, out={x})", True),
    ),
}
"""Writes to all that a variable shows, and whether they add."""


def _write(program: Program, one: int, two: int, three: int) -> None:
    target = program.pick(one)
    if target is None:
        return
    overlapping = 0 in target.shows.strides
    if overlapping and (target.side == "torch" or two % 4 == 1):
        return  # PyTorch refuses; NumPy would add twice
    value = three % 3
    forms = WHOLE[target.side]
    if two % 3 == 0 and not overlapping and (cut := _slices(target.shows, two // 3, three)) is not None:
        program.world.wrote(target, cut[1], value)
        program.add(f"{target.name}[{cut[0]}] = {value}")
        return
    form, adds = forms[two % len(forms)]
    if target.memory.dtype == "uint8" and adds and max(target.memory.values) > 200:
        return
    program.world.wrote(target, target.shows, value, adds=adds)
    program.add(form.format(x=target.name, v=value))


def _same_again(program: Program, one: int, two: int, three: int) -> None:
    """The bytes that are there already."""
    target = program.pick(one)
    if target is None or 0 in target.shows.strides:
        return
    program.world.wrote(target, target.shows, 0, adds=True)
    if target.side == "numpy":
        program.add(f"{target.name}[...] = {target.name}.copy()")
    else:
        program.add(f"{target.name}.copy_({target.name}.clone())")


def _hidden(program: Program, one: int, two: int, three: int) -> None:
    """A write of torch's that autograd's counter does not see."""
    target = program.pick(one, "torch")
    if target is None or 0 in target.shows.strides:
        return
    program.world.wrote(target, target.shows, three % 3, hidden=True)
    program.add(f"{target.name}.data.fill_({three % 3})")


def _read(program: Program, one: int, two: int, three: int) -> None:
    source = program.pick(one, "torch")
    if source is not None:
        program.add(f"{source.name}.reshape(-1)[0].item()" if two % 2 else f"{source.name}.tolist()")


def _delete(program: Program, one: int, two: int, three: int) -> None:
    gone = program.pick(one)
    if gone is not None:
        program.world.died(gone.name)
        program.add(f"del {gone.name}")


def _check(program: Program, one: int, two: int, three: int) -> None:
    program.world.boundary()
    program.add("g.check()")


def _backward(program: Program, one: int, two: int, three: int) -> None:
    program.world.boundary()
    program.add("(w * w).sum().backward()")


KINDS: Final[dict[str, Callable[[Program, int, int, int], None]]] = {
    "make": _make,
    "share": _share,
    "view": _view,
    "write": _write,
    "same again": _same_again,
    "read": _read,
    "delete": _delete,
    "check": _check,
    "backward": _backward,
}
WEIGHTS: Final = (*KINDS, "share", "write", "write")

_numbers: Final = st.integers(0, 47)
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(WEIGHTS), _numbers, _numbers, _numbers), min_size=3, max_size=16
)
FIRST: Final = st.tuples(_numbers, _numbers)


def build(first: tuple[int, int], steps: Sequence[tuple[str, int, int, int]], *, hidden: bool = False) -> Program:
    """The program of a list of steps. It begins with a memory; ``hidden``: reads become writes through ``.data``."""
    program = Program()
    _make(program, *first, 0)
    for kind, *numbers in steps:
        if kind in ("make", "share", "view") and len(program.world.names) >= MOST_NAMES:
            continue
        (_hidden if hidden and kind == "read" else KINDS[kind])(program, *numbers)
    program.world.boundary()  # the guard's exit
    return program


PROGRAMS: Final = st.builds(build, FIRST, STEPS, hidden=st.sampled_from([False, False, False, True]))
