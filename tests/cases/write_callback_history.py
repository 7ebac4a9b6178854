"""An optimiser of the SciPy kind calls back with its own iterate; the history holds one point many times."""
import numpy as np
import torch


def minimise(function, start, callback, rate=0.2, turns=4):
    point = np.array(start, dtype=np.float64)
    for _ in range(turns):
        tensor = torch.tensor(point, requires_grad=True)
        function(tensor).backward()
        point -= rate * tensor.grad.numpy()  # expect: mutation writer=numpy ; alias
        callback(point)
    return point


path = []
best = minimise(lambda x: ((x - 3.0) ** 2).sum(), [0.0, 1.0], lambda xk: path.append(torch.from_numpy(xk)))  # expect: alias
print(len({tuple(point.tolist()) for point in path}), best.round(2))  # expect: read
