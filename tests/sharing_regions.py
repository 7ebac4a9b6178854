"""Regions of arrays and tensors, for the tests of ``sharing``."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from tensorwatch_guard.words import Region

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch

    from tensorwatch_guard.sharing.contents import Contents


def region_of(array: np.ndarray[Any, Any]) -> Region:
    steps = list(zip(array.shape, array.strides, strict=True))
    low = array.__array_interface__["data"][0] + sum((n - 1) * step for n, step in steps if step < 0)
    nbytes = sum((n - 1) * abs(step) for n, step in steps) + array.itemsize if array.size else 0
    return Region(low, nbytes, array.shape, array.strides, array.itemsize, array.dtype.name)


def region_of_tensor(tensor: torch.Tensor) -> Region:
    item = tensor.element_size()
    strides = tuple(step * item for step in tensor.stride())
    nbytes = sum((n - 1) * step for n, step in zip(tensor.shape, strides, strict=True)) + item
    return Region(tensor.data_ptr(), nbytes, tuple(tensor.shape), strides, item, str(tensor.dtype).split(".")[1])


def weakly(array: np.ndarray[Any, Any]) -> Callable[[], object | None]:
    """A hold that promises nothing: the memory is asked for each time."""
    reference = weakref.ref(array)

    def hold() -> object | None:
        return reference()

    return hold


def watch(contents: Contents, key: int, array: np.ndarray[Any, Any], **options: Any) -> bool:
    return contents.add(key, region_of(array), weakly(array), **options)
