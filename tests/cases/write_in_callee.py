"""A helper rescales what it is given; the caller's tensor is rescaled with it."""
import numpy as np
import torch


def standardise(values, *, epsilon=1e-6):
    centre, spread = values.mean(axis=0), values.std(axis=0)
    np.divide(values - centre, spread + epsilon, out=values)  # expect: mutation writer=numpy
    return values


def prepare(features):
    return [standardise(part) for part in np.split(features, 2)]


features = np.random.default_rng(2).normal(3.0, 2.0, size=(400, 5))
inputs = torch.from_numpy(features)  # expect: alias
before = inputs.mean().item()  # expect: read
prepare(features)
print(round(before, 3) == round(inputs.mean().item(), 3))  # expect: read
