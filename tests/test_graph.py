"""Saved values that were written behind autograd's back are found before backward uses them."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from tensorwatch_guard.sharing.graph import Suspect, sequence_number, stale, walk

ME = threading.get_ident()
FOREVER = 1 << 62


def memory(tensor: Any):
    low = tensor.data_ptr()
    return low, low + tensor.untyped_storage().nbytes() - tensor.storage_offset() * tensor.element_size()


def suspect(tensor: Any, start: Any, end: Any, thread: Any = ME, index: Any = 0):
    return Suspect(index, *memory(tensor), {thread: (start, end)})


def shared():
    array = np.array([1.0, 2.0, 3.0], np.float32)
    return array, torch.from_numpy(array), torch.ones(3, requires_grad=True)


def test_a_value_saved_before_the_write_is_certainly_stale():
    array, tensor, weight = shared()
    loss = (weight * tensor).sum()
    start = sequence_number()
    array[:] = 100
    [found] = stale([loss], [suspect(tensor, start, sequence_number(), index=5)])
    assert (found.suspect, found.node, found.attribute, found.certain) == (5, "MulBackward0", "_saved_other", True)


def test_a_value_saved_after_the_write_is_fine():
    array, tensor, weight = shared()
    start = sequence_number()
    array[:] = 100
    end = sequence_number()
    loss = (weight * tensor).sum()
    assert stale([loss], [suspect(tensor, start, end)]) == []


def test_a_value_saved_between_the_two_looks_is_possibly_stale():
    array, tensor, weight = shared()
    start = sequence_number()
    loss = (weight * tensor).sum()
    array[:] = 100
    [found] = stale([loss], [suspect(tensor, start, sequence_number())])
    assert not found.certain


def test_old_and_new_graphs_with_one_memory_are_told_apart():
    array, tensor, weight = shared()
    old = (weight * tensor).sum()
    start = sequence_number()
    array[:] = 100
    end = sequence_number()
    new = (weight * tensor).sum()
    assert len(stale([old, new], [suspect(tensor, start, end)])) == 1
    assert len(stale([old + new], [suspect(tensor, start, end)])) == 1


def test_other_memory_is_no_concern():
    _, tensor, weight = shared()
    loss = (weight * tensor).sum()
    other = torch.ones(3)
    assert stale([loss], [suspect(other, FOREVER, FOREVER)]) == []


def test_a_saved_result_counts_too():
    weight = torch.ones(3, requires_grad=True)
    result = weight.exp()
    start = sequence_number()
    result.detach().numpy()[:] = 0
    [found] = stale([result.sum()], [suspect(result, start, start)])
    assert (found.node, found.attribute, found.certain) == ("ExpBackward0", "_saved_result", True)


def test_parameters_written_between_forward_and_backward():
    torch.manual_seed(0)
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    loss = second(torch.tanh(first(torch.ones(1, 2)))).sum()
    start = sequence_number()
    second.weight.detach().numpy()[...] = 50
    [found] = stale([loss], [suspect(second.weight, start, start)])
    assert (found.node, found.certain) == ("AddmmBackward0", True)


def test_lists_of_saved_tensors():
    parts = [torch.ones(2, requires_grad=True) * 2 for _ in range(3)]
    index = torch.tensor([0, 1])
    loss = parts[0][index].sum()
    start = sequence_number()
    [found] = stale([loss], [suspect(index, start, start)])
    assert found.attribute.startswith("_saved_indices[")


class Custom(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Any, two: Any):
        ctx.save_for_backward(one, None, two)
        return one * two

    @staticmethod
    def backward(ctx: Any, gradient: Any):
        one, _, two = ctx.saved_tensors
        return gradient * two, gradient * one


def test_custom_functions():
    _, tensor, weight = shared()
    loss = Custom.apply(weight, tensor).sum()
    start = sequence_number()
    [found] = stale([loss], [suspect(tensor, start, start)])
    assert (found.node, found.attribute, found.certain) == ("CustomBackward", "saved_tensors[2]", True)


BUILDS = [lambda w, t: (w * t).sum(), lambda w, t: Custom.apply(w, t).sum()]


@pytest.mark.parametrize("build", BUILDS, ids=["own", "custom"])
def test_a_freed_graph_has_nothing_saved(build: Any):
    _, tensor, weight = shared()
    loss = build(weight, tensor)
    loss.backward()
    assert stale([loss], [suspect(tensor, FOREVER, FOREVER)]) == []


def test_checkpointed_parts_do_not_run_again_and_stay_untouched():
    runs = []
    layer = torch.nn.Linear(3, 3)

    def block(value: Any):
        runs.append(1)
        return layer(value).exp()

    given = torch.randn(2, 3)
    loss = checkpoint(block, given, use_reentrant=False).sum()
    found = stale([loss], [Suspect(0, 0, FOREVER, {ME: (FOREVER, FOREVER)})])
    assert len(runs) == 1
    assert {one.attribute for one in found} <= {"_saved_mat2"}  # the parameter, which PyTorch saves without hooks
    loss.backward()
    assert len(runs) == 2


def test_values_under_hooks_are_not_unpacked():
    unpacked = []

    def unpack(value: Any):
        unpacked.append(1)
        return value

    given = torch.randn(3)
    weight = torch.ones(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda value: value, unpack):
        loss = (weight * given).sum()
    assert stale([loss], [suspect(given, FOREVER, FOREVER)]) == []
    assert unpacked == []


def test_a_graph_built_in_another_thread_is_possibly_stale():
    array, tensor, weight = shared()
    for _ in range(50):
        (weight * tensor).sum()
    built = []

    def build():
        built.append(((weight * tensor).sum(), threading.get_ident(), sequence_number()))

    start = sequence_number()
    array[:] = 100
    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    loss, other, number = built[0]
    both = Suspect(0, *memory(tensor), {ME: (start, start), other: (0, 0)})
    assert [found.certain for found in stale([loss], [both])] == [False]
    only_other = Suspect(0, *memory(tensor), {other: (number, number)})
    assert [found.certain for found in stale([loss], [only_other])] == [False]
    unknown = Suspect(0, *memory(tensor), {})
    assert [found.certain for found in stale([loss], [unknown])] == [False]


def test_numbers_this_thread_has_not_reached_belong_to_another():
    _, tensor, weight = shared()
    built = []
    ahead = sequence_number() + 1000

    def build():
        for _ in range(sequence_number(), ahead):
            weight + 1
        built.append((weight * tensor).sum())

    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    now = sequence_number()
    assert now < ahead
    found = stale(built, [suspect(tensor, now, now)])
    assert [one.certain for one in found] == [False]


def test_agreeing_threads_leave_it_certain():
    _, tensor, weight = shared()
    loss = (weight * tensor).sum()
    start = sequence_number()
    agreed = Suspect(0, *memory(tensor), {ME: (start, start), 1: (start + 1000, start + 1000)})
    assert [found.certain for found in stale([loss], [agreed])] == [True]


def test_an_unknown_start_is_at_most_possible():
    _, tensor, weight = shared()
    loss = (weight * tensor).sum()
    found = stale([loss], [suspect(tensor, -1, sequence_number())])
    assert [one.certain for one in found] == [False]


def test_only_what_the_wanted_gradients_need():
    _, tensor, weight = shared()
    other = torch.ones(3, requires_grad=True)
    loss = (weight * tensor).sum() + other.exp().sum()
    suspects = [suspect(tensor, FOREVER, FOREVER)]
    assert stale([loss], suspects, inputs=[other]) == []
    assert len(stale([loss], suspects, inputs=[other, weight])) == 1
    middle = weight * 2
    loss = (middle * tensor).sum()
    assert len(stale([loss], suspects, inputs=[middle])) == 1
    assert len(stale([torch.autograd.graph.get_gradient_edge(loss)], suspects)) == 1


def test_the_neighbours_columns_are_no_concern():
    matrix = np.ones((4, 3), np.float32)
    saved = torch.from_numpy(matrix)[:, 1]
    weight = torch.ones(4, requires_grad=True)
    loss = (weight * saved).sum()
    base = matrix.ctypes.data

    def hit(first: Any, last: Any):
        return bool(stale([loss], [Suspect(0, base + first, base + last, {ME: (FOREVER, FOREVER)})]))

    own = {row * 12 + 4 + byte for row in range(4) for byte in range(4)}
    for offset in range(48):
        assert hit(offset, offset + 1) is (offset in own), offset
    assert hit(0, 5)
    assert not hit(8, 16)
    assert hit(8, 30)


def test_batch_norms_own_statistics_are_not_stale_in_training():
    norm = torch.nn.BatchNorm1d(3)
    loss = norm(torch.randn(4, 3)).sum()
    mean = suspect(norm.running_mean, FOREVER, FOREVER)
    assert stale([loss], [mean]) == []
    norm.eval()
    loss = norm(torch.randn(4, 3, requires_grad=True)).sum()
    assert len(stale([loss], [mean])) == 1


class Keeping(torch.autograd.Function):
    """Keeps what it is given as it is given."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, kept: Any) -> torch.Tensor:
        ctx.kept = kept
        ctx.number = sequence_number()
        return weight.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


KEPT: dict[str, Any] = {
    "tensor": torch.from_numpy,
    "array": lambda array: array,
    "list": lambda array: ["a mask", torch.from_numpy(array)],
    "dictionary": lambda array: {"mask": array},
}


@pytest.mark.parametrize("kept", KEPT)
def test_what_a_custom_function_keeps_on_its_context(kept: str):
    array, tensor, weight = shared()
    loss = Keeping.apply(weight, KEPT[kept](array)).sum()
    start = sequence_number()
    array[:] = 100
    for counted in (False, True):  # PyTorch checks the versions of saved tensors only
        one = Suspect(1, tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes, {ME: (start, start)}, counted=counted)
        assert [(found.attribute, found.certain) for found in stale([loss], [one])] == [("ctx.kept", True)]
    later = Keeping.apply(weight, KEPT[kept](array)).sum()
    assert stale([later], [suspect(tensor, start, start)]) == []


def test_arrays_that_no_tensor_can_be_made_of_are_passed_over():
    _, tensor, weight = shared()
    read_only = np.ones(3)
    read_only.flags.writeable = False
    loss = Keeping.apply(weight, [np.array(["a"]), np.ones(3)[::-1], read_only, np.ones(3, np.longdouble)]).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stale([loss], [suspect(tensor, FOREVER, FOREVER)]) == []


def test_in_a_custom_forward_the_number_is_that_of_its_own_node():
    before = sequence_number()
    loss = Keeping.apply(torch.ones(3, requires_grad=True), None)
    assert loss.grad_fn.number == loss.grad_fn._sequence_nr() == before
    with torch.no_grad():
        assert sequence_number() > before


def test_a_deep_graph_is_cut_and_says_so():
    value = torch.ones(1, requires_grad=True)
    factor = torch.ones(1)
    for _ in range(12_000):
        value = value * factor
    result = walk([value], [suspect(factor, FOREVER, FOREVER)])
    assert result.cut
    assert result.nodes == 10_000
    whole = walk([value], [suspect(factor, FOREVER, FOREVER)], limit=10**6)
    assert not whole.cut
    assert len(whole.found) == 12_000


def test_roots_without_a_graph():
    assert stale([torch.ones(3), torch.ones(3, requires_grad=True)], [Suspect(0, 0, FOREVER, {})]) == []
    assert stale([], []) == []


def test_versions_modes_and_later_gradients_are_not_touched(recwarn: Any):
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

    _, tensor, weight = shared()
    product = weight * tensor
    loss = product.exp().sum()
    versions, number = (tensor._version, product._version), sequence_number()
    with Functions(), Dispatches():
        assert len(stale([loss], [Suspect(0, 0, FOREVER, {ME: (FOREVER, FOREVER)})])) == 2
    assert calls == []
    assert (tensor._version, product._version) == versions
    assert sequence_number() == number
    loss.backward()
    assert torch.equal(weight.grad, tensor * torch.exp(tensor))
    assert not recwarn.list


def test_lazy_clones_stay_lazy():
    base = torch.ones(3)
    clone = torch._lazy_clone(base)
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * clone).sum()
    stale([loss], [Suspect(0, 0, FOREVER, {ME: (FOREVER, FOREVER)})])
    assert torch._C._is_cow_tensor(clone)


SMALL_STACK = """
import threading, torch
from tensorwatch_guard import guard

def train():
    weight = torch.ones(4, requires_grad=True)
    with guard(report=False) as g:
        inputs = torch.ones(4)
        array = inputs.numpy()
        value = weight * inputs
        for _ in range(9000):
            value = value + 1
        array[:] = 7
        value.sum().backward()
    del value
    print([spot for spot in g.report.blind_spots if "graphs" in spot])

threading.stack_size(512 * 1024)
thread = threading.Thread(target=train)
thread.start()
thread.join()
"""


def test_a_deep_graph_can_be_freed_on_a_small_stack_and_the_report_says_what_was_not_searched(measured: dict[str, str]) -> None:
    """PyTorch frees nodes that Python has seen one within another: of all of them that overflows the stack."""
    command = [sys.executable, "-c", SMALL_STACK]
    done = subprocess.run(command, capture_output=True, text=True, env=measured, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "searched for stale values only next to the loss: 1" in done.stdout
