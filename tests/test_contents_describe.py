"""A change said in the array's own indices and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sharing_regions import region_of, region_of_tensor, watch
from tensorwatch_guard.sharing.contents import Contents, describe
from tensorwatch_guard.words import Change, Region


def told(array: Any, write: Any):
    """The description of what ``write`` does to the array."""
    contents = Contents()
    watch(contents, 1, array)
    write(array)
    [(change, _)] = contents.look()
    return tuple(describe(region_of(array), change))


def setting(where: Any, value: Any):
    def write(array: Any):
        array[where] = value

    return write


def test_one_element():
    assert told(np.array([1.0, 2.0, 3.0, 4.0], np.float32), setting(3, 100)) == ("[3]", 1, "4.0", "100.0")


def test_a_slice_and_the_first_values():
    assert told(np.arange(10), setting(slice(2, 7), 0)) == ("[2:7]", 5, "2, 3, 4, ...", "0, 0, 0, ...")


def test_the_whole_array():
    assert told(np.zeros(128, np.float32), setting(slice(None), 1))[:2] == ("[0:128]", 128)


def test_only_elements_that_differ_are_counted_and_shown():
    region, elements, before, after = told(np.arange(8), setting([1, 4, 6], [10, 4, 60]))
    assert (region, elements, before, after) == ("[1:7]", 2, "1, 6", "10, 60")


@pytest.mark.parametrize(
    ("where", "spelled", "elements"),
    [
        ((1,), "[1, :]", 5),
        ((slice(None), 2), "[:, 2]", 4),
        ((slice(1, 3), slice(0, 2)), "[1:3, 0:2]", 4),
        ((slice(None), slice(None)), "[:, :]", 20),
        ((3, 4), "[3, 4]", 1),
    ],
)
def test_blocks_of_a_matrix(where: Any, spelled: Any, elements: Any):
    assert told(np.zeros((4, 5)), setting(where, 1))[:2] == (spelled, elements)


@pytest.mark.parametrize(
    "layout", [lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[::2, 1::2], lambda a: a[::-2].T],
    ids=["transposed", "rows reversed", "columns reversed", "every second", "every second reversed and transposed"],
)
def test_indices_are_those_of_the_view(layout: Any):
    view = layout(np.arange(42, dtype=np.int16).reshape(6, 7))
    for index in np.ndindex(view.shape):
        old = view[index]
        assert told(view, setting(index, -1)) == (f"[{index[0]}, {index[1]}]", 1, str(old), "-1")


def test_a_neighbours_element_in_between_is_not_counted():
    matrix = np.zeros((5, 2), np.float32)
    column = matrix[:, 0]
    contents = Contents()
    watch(contents, 1, column)
    matrix[1:4] = 7  # the other column, too
    [(change, _)] = contents.look()
    assert tuple(describe(region_of(column), change)) == ("[1:4]", 3, "0.0, 0.0, 0.0", "7.0, 7.0, 7.0")


def test_a_scalar_array():
    assert told(np.array(5.0), setting((), 6)) == ("[()]", 1, "5.0", "6.0")


@pytest.mark.parametrize(
    ("dtype", "old", "new"),
    [
        ("float64", "1.0", "2.0"),
        ("float16", "1.0", "2.0"),
        ("int8", "1", "2"),
        ("bool", "False", "True"),
        ("complex64", "(1+0j)", "(2+0j)"),
        ("uint64", "1", "2"),
        ("datetime64[D]", "1970-01-02", "1970-01-03"),
    ],
)
def test_values_are_shown_by_type(dtype: Any, old: Any, new: Any):
    array = np.zeros(3, dtype)
    array[1] = dtype != "bool" and np.ones(1, "int64").astype(dtype)[0]
    two = np.full(1, 2, "int64").astype(dtype)[0]
    assert told(array, setting(1, two))[2:] == (old, new)


def test_bfloat16_values_are_numbers():
    tensor = torch.tensor([1.0, 2.5, 3.0], dtype=torch.bfloat16)
    contents = Contents()
    region = region_of_tensor(tensor)
    contents.add(1, region, lambda: tensor)
    tensor[1] = -4
    [(change, _)] = contents.look()
    assert region.dtype == "bfloat16"
    assert tuple(describe(region, change)) == ("[1]", 1, "2.5", "-4.0")


def test_an_unknown_type_is_shown_in_hexadecimal():
    region = Region(0, 4, (4,), (1,), 1, "float8_e4m3fn")
    assert tuple(describe(region, Change(1, 1, 2, b"\x01", b"\xff"))) == ("[1]", 1, "0x01", "0xff")


def test_where_only_a_hash_was_kept_the_block_is_named():
    region = Region(0, 400_000, (1000, 100), (400, 4), 4, "float32")
    described = describe(region, Change(1, 65536, 131072, None, b"\0" * 4096))
    assert tuple(described) == ("[163:328, :]", None, None, None)
    flat = Region(0, 400_000, (100_000,), (4,), 4, "float32")
    assert describe(flat, Change(1, 65536, 131072, None, None)).region == "[16384:32768]"


def test_a_long_change_names_the_whole_range_and_counts_it():
    described = told(np.zeros((100, 200), np.float16), setting(slice(None), 1))
    assert described == ("[:, :]", 20_000, "0.0, 0.0, 0.0, ...", "1.0, 1.0, 1.0, ...")


def test_where_only_the_first_bytes_are_known_nothing_is_counted():
    region = Region(0, 8192, (2048,), (4,), 4, "float32")
    change = Change(1, 0, 8192, bytes(4096), np.ones(1024, np.float32).tobytes())
    assert describe(region, change) == ("[0:2048]", None, "0.0, 0.0, 0.0, ...", "1.0, 1.0, 1.0, ...")


def test_bytes_that_are_no_whole_elements_still_name_their_element():
    region = Region(0, 16, (4,), (4,), 4, "float32")
    assert describe(region, Change(1, 5, 6, b"\0", b"\1"))[:2] == ("[1]", 1)
