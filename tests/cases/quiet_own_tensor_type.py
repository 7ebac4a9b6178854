"""A tensor type of one's own hears nothing when it is looked for other tensors that see what was written."""
import numpy as np
import torch


class Loud(torch.Tensor):
    heard = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.heard.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


loud = torch.ones(3).as_subclass(Loud)
Loud.heard.clear()


def halves():
    position, velocity = torch.ones(20).chunk(2)
    return position.numpy(), velocity  # maybe: alias


position, velocity = halves()
position *= 2
weights = torch.ones(8)
snapshot = np.from_dlpack(weights).copy()  # maybe: alias
weights.add_(1)
print(weights.sum().item(), velocity.sum().item(), snapshot.sum())  # expect: read
assert not Loud.heard
