"""Expressions over several lines: the finding must stand on the expression."""
import numpy as np
import torch

data = np.ones((40, 40), dtype=np.float32)
pair = (
    torch.from_numpy(data),  # expect: alias
    torch.from_numpy(data.T),  # expect: alias
)
total = (
    pair[0]
    .sum()
    .item()  # expect: read
)
np.multiply(
    data,
    2.0,
    out=data,  # expect: mutation writer=numpy
)
if (
    pair[1].sum().item()  # expect: read
    > total
):
    data[
        3:5,
        :,
    ] = 0.0  # expect: mutation writer=numpy
print(pair[0].sum().item() < 2 * total)  # expect: read
