"""A custom function fills memory that it shared before, and saves it: backward uses what was filled in."""

import numpy as np
import torch


class Exponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        array = np.empty(values.shape, dtype=np.float32)
        result = torch.from_numpy(array)  # expect: alias
        given = values.numpy()  # expect: alias
        np.exp(given, out=array)  # expect: mutation writer=numpy
        ctx.save_for_backward(result)
        return result.clone()

    @staticmethod
    def backward(ctx, gradient):
        (result,) = ctx.saved_tensors
        return gradient * result


weight = torch.zeros(16, requires_grad=True)
for _ in range(6):
    loss = Exponential.apply(weight).sum()
    loss.backward()
print(weight.grad.tolist() == [6.0] * 16)
