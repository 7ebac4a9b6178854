"""The census finds memory that tensors and arrays share now, whoever brought them together, and leaves no trace."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.sharing.census import census, groups, overlapping
from tensorwatch_guard.words import Region


class Holder:
    pass


def sharing(*objects: Any):
    """The groups that hold all of these objects."""
    wanted = {id(one) for one in objects}
    return [group for group in groups() if wanted <= {id(member.ref()) for member in group.members}]


def test_a_parameter_and_its_array():
    weight = torch.nn.Parameter(torch.ones(5, 3))
    holder = Holder()
    holder.history = [weight.detach().numpy()]
    [group] = sharing(weight, holder.history[0])
    assert group.overlap is True
    sides = {member.kind: member for member in group.members}
    assert sides["tensor"].type == "torch.nn.parameter.Parameter"
    assert sides["array"].type == "numpy.ndarray"
    assert sides["array"].shape == sides["tensor"].shape == (5, 3)
    assert sides["array"].dtype == sides["tensor"].dtype == "float32"
    assert sides["array"].owner == "torch.Tensor"
    assert sides["tensor"].region == Region(weight.data_ptr(), 60, (5, 3), (12, 4), 4, "float32")
    assert (group.low, group.high) == (weight.data_ptr(), weight.data_ptr() + 60)


@pytest.mark.parametrize(
    "keep",
    [
        lambda array: {"a": array},
        lambda array: (array,),
        lambda array: [((array,),)],
        lambda array: {"a": (array,)},
        lambda array: np.array([None, array], dtype=object)[:1].base,
        lambda array: array[1:][1:],
        lambda array: (lambda: array),
        lambda array: (element for element in [array]),
        np.ma.masked_array,
        lambda array: array.view(np.recarray),
    ],
    ids=[
        "dictionary", "tuple", "nested tuples", "tuple in a dictionary", "array of objects", "view of a view",
        "closure", "generator", "masked array", "record array",
    ],
)  # fmt: skip
def test_arrays_are_found_wherever_they_are_held(keep: Any):
    array = np.ones(100, np.float32)
    holder = Holder()
    holder.tensor = torch.from_numpy(array)
    holder.kept = keep(array)
    del array
    gc.collect()  # the collector stops to track dictionaries and tuples of plain things
    assert any(
        any(member.ref() is holder.tensor for member in group.members) and any(m.kind == "array" for m in group.members)
        for group in groups()
    )


def test_local_variables_of_running_functions():
    weight = torch.nn.Parameter(torch.ones(5))

    def outer():
        local = np.from_dlpack(weight.detach())
        in_a_cell = weight.detach()[1:].numpy()

        def inner():
            return sharing(weight), in_a_cell

        found, _ = inner()
        return found, id(local), id(in_a_cell)

    [group], *arrays = outer()
    assert len([m for m in group.members if m.kind == "array"]) == len(arrays)


def test_running_functions_keep_their_variables_to_themselves():
    """Before Python 3.13, f_locals would keep deleted objects alive, and change what locals() had given."""

    def program():
        count = 1
        mine = locals()
        big = np.zeros(10)
        shared = torch.from_numpy(big)
        dead = weakref.ref(big)
        count = 2
        assert sharing(shared)
        assert mine == {"count": 1}
        del big, shared
        gc.collect()
        assert dead() is None
        return count

    assert program() == 2


def test_interleaved_columns_do_not_overlap():
    matrix = np.zeros((50, 2), np.float32)
    tensor = torch.from_numpy(matrix[:, 0])
    column = matrix[:, 1]
    [group] = sharing(tensor, column)
    assert group.overlap is True  # through the matrix itself
    one = Region(1000, 50 * 8 - 4, (50,), (8,), 4, "float32")
    other = Region(1004, 50 * 8 - 4, (50,), (8,), 4, "float32")
    assert overlapping(one, other) is False
    assert overlapping(one, one) is True
    assert overlapping(one, Region(1004, 8, (2,), (4,), 4, "float32")) is True
    assert overlapping(one, Region(1004, 4, (1,), (4,), 4, "float32")) is False
    assert overlapping(one, Region(9000, 4, (1,), (4,), 4, "float32")) is False
    assert overlapping(Region(1000, 40, (10,), (4,), 4, "f"), Region(1036, 8, (2,), (4,), 4, "f")) is True


def test_a_hard_question_is_answered_by_none():
    shape = (30, 31, 37, 41, 43)
    one = Region(10**6, 10**6, shape, (12345, 5437, 2357, 1117, 223), 1, "int8")
    other = Region(10**6 + 1, 10**6, shape, (12343, 5431, 2351, 1123, 227), 1, "int8")
    assert overlapping(one, other) in {None, True}


def test_neighbours_in_one_array_are_no_group():
    block = bytearray(80)
    tensor, array = torch.frombuffer(block, dtype=torch.float32, count=10), np.frombuffer(block, np.float32, 10, 40)
    assert sharing(tensor, array) == []
    assert len(sharing(tensor, np.frombuffer(block, np.float32, 10, 36))) == 1


def test_tensors_alone_and_arrays_alone_are_no_group():
    tensor = torch.ones(10)
    view = tensor[2:]
    array = np.ones(10)
    part = array[2:]
    lonely = torch.ones(77).numpy()  # the tensor behind it is nobody's
    ours = {id(one) for one in (tensor, view, array, part, lonely)}
    assert not any(id(member.ref()) in ours for group in groups() for member in group.members)


def test_trainable_memory_that_was_handed_out_at_some_time():
    weight, other = torch.nn.Parameter(torch.ones(5)), torch.nn.Parameter(torch.ones(5))
    weight.detach().numpy()
    found = [member.ref() for member in census().exported]
    assert any(one is weight for one in found)
    assert not any(one is other for one in found)


def test_nothing_is_kept():
    tensor = torch.ones(10)
    array = tensor.numpy()
    before = sys.getrefcount(tensor), sys.getrefcount(array)
    found = census()
    assert (sys.getrefcount(tensor), sys.getrefcount(array)) == before
    members = [member for group in found.groups for member in group.members]
    dead = weakref.ref(array)
    del array
    assert dead() is None
    assert any(member.ref() is tensor for member in members)
    assert any(member.ref() is None for member in members)


def test_strangers_are_asked_nothing():
    asked = []

    class Lazy:
        @property
        def __class__(self):
            asked.append("class")
            return np.ndarray

        def __getattr__(self, name: Any):
            asked.append(name)
            raise AttributeError(name)

        def __eq__(self, other: object):
            asked.append("eq")
            return True

        __hash__ = object.__hash__

    class Curious(np.ndarray):
        def __array_finalize__(self, other: Any):
            asked.append("finalize")

        @property
        def base(self):
            asked.append("base")

        @property
        def shape(self):
            asked.append("shape")
            return ()

    kept = [Lazy(), np.ones(5).view(Curious)]
    tensor = torch.from_numpy(np.asarray(kept[1]))
    asked.clear()
    groups()
    assert asked == []
    assert tensor.numel() == 5


def test_versions_and_modes_are_not_touched():
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    calls = []

    class Functions(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            calls.append(function)
            return function(*args, **(kwargs or {}))

    class Dispatches(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            calls.append(function)
            return function(*args, **(kwargs or {}))

    weight = torch.nn.Parameter(torch.ones(5))
    array = weight.detach().numpy()
    version = weight._version
    with Functions(), Dispatches():
        assert groups()
    assert calls == []
    assert weight._version == version
    assert array.flags.writeable


def test_lazy_clones_stay_lazy():
    base = torch.ones(3)
    clone = torch._lazy_clone(base)
    groups()
    assert torch._C._is_cow_tensor(clone)


def test_wrappers_without_memory_are_passed_by():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(3)
    sparse = torch.eye(3).to_sparse()
    meta = torch.ones(3, device="meta")
    groups()
    assert (fake.shape, sparse.shape, meta.shape) == ((3,), (3, 3), (3,))


def test_no_warning_comes_of_it_even_as_an_error():
    program = """
        import warnings
        import torch, torch.distributed, torch.utils.data, numpy
        warnings.simplefilter("error")
        from tensorwatch_guard.sharing.census import census
        kept = torch.ones(3).numpy(), torch.storage.TypedStorage
        census()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_was_shared_before_is_named_as_not_seen_unless_it_is_looked_for() -> None:
    unseen = "memory that was shared before the guard was entered (census=True looks for it)"
    with guard(report=False) as g:
        pass
    assert unseen in g.report.blind_spots
    with guard(report=False, census=True) as g:
        pass
    assert unseen not in g.report.blind_spots


def test_types_that_cannot_be_hashed_are_passed_by():
    class Unhashable(type):
        __hash__ = None  # type: ignore[assignment]

    kept = Unhashable("Kept", (), {})()
    array = np.ones(3)
    tensor = torch.from_numpy(array)
    found = [member.ref() for group in census().groups for member in group.members]
    assert any(one is array for one in found)
    assert kept is not None
    assert tensor is not None

