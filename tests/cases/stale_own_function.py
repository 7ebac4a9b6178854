"""A custom autograd function saves the shared buffer; the camera overwrites it before autograd.grad."""
import numpy as np
import torch


class Modulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, signal, carrier):
        ctx.save_for_backward(carrier)
        return signal * carrier

    @staticmethod
    def backward(ctx, grad):
        (carrier,) = ctx.saved_tensors
        return grad * carrier, None


frame = np.linspace(1, 2, 3000, dtype=np.float32)
carrier = torch.from_numpy(frame)  # expect: alias
signal = torch.ones(3000, requires_grad=True)
output = Modulate.apply(signal, carrier).sum()
frame[::2] = -1.0  # expect: mutation writer=numpy
(gradient,) = torch.autograd.grad(output, signal)  # expect: hazard type=stale-gradient
print(gradient[0].item())  # expect: read
