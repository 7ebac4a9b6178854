"""Conversions that nobody calls by hand: map, lambdas, partials, comprehensions, decorators, properties."""
import functools

import numpy as np
import torch

rows = np.zeros((3, 700), dtype=np.float32)
mapped = list(map(torch.from_numpy, rows))  # expect: alias count=3
transform = lambda sample: torch.as_tensor(sample)  # expect: alias
convert = functools.partial(torch.asarray, dtype=torch.float32)
sample = transform(np.ones(10, dtype=np.float32))
labels = np.ones(5, dtype=np.float32)
converted = convert(labels)  # expect: alias
pairs = {index: torch.from_numpy(row) for index, row in enumerate(rows)}  # expect: alias count=3


def on_tensors(function):
    @functools.wraps(function)
    def inner(*arrays):
        return function(*(torch.from_numpy(array) for array in arrays))  # expect: alias count=2

    return inner


@on_tensors
def distance(left, right):
    return (left - right).abs().sum().item()  # expect: read


class Agent:
    def __init__(self):
        self.policy = torch.nn.Linear(30, 30)

    @property
    def weights(self):
        return self.policy.weight.detach().numpy()  # expect: alias


agent = Agent()
held = agent.weights
print(distance(rows[0], rows[1]), held.shape, len(mapped), len(pairs), sample.shape)
labels[2] = 8.0  # expect: mutation writer=numpy
print(converted[2].item())  # expect: read
