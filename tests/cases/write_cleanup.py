"""Writes in odd places: a finally block, a context manager's exit, a descriptor, a default argument, operator overloads."""
import contextlib

import numpy as np
import torch

scratch = np.ones(600, dtype=np.float32)
lent = torch.from_numpy(scratch)  # expect: alias


@contextlib.contextmanager
def workspace(array):
    try:
        yield array
    finally:
        array.fill(0.0)  # expect: mutation writer=numpy


with workspace(scratch) as space:
    total = space.sum()
print(lent.sum().item(), lent.tolist()[0], total)  # expect: read


class Gain:
    def __init__(self, array):
        self.array = array

    def __setitem__(self, key, value):
        self.array[key] = value  # expect: mutation writer=numpy

    def __imul__(self, factor):
        self.array *= factor  # expect: mutation writer=numpy
        return self

    def __call__(self, value=scratch.dtype.type(3)):
        self.array += value  # expect: mutation writer=numpy


gain = Gain(scratch)
gain[5] = 4.0
print(lent.max().item(), lent.tolist()[5])  # expect: read
gain *= 2
print(lent.max().item(), lent.tolist()[5])  # expect: read
gain()
print(lent.min().item(), lent.tolist()[0])  # expect: read
