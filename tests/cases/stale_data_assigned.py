"""Manual steps between two graphs that share weights, a weight given other memory, and an input rewritten: all past the counter."""
import torch


def clip(parameters, low, high):
    for parameter in parameters:
        parameter.data[...] = parameter.data.clamp(low, high)


weight = torch.nn.Parameter(torch.full((60,), 2.0))
first, second = weight.pow(2).sum(), weight.pow(3).sum()
first.backward()
weight.data -= 0.5 * weight.grad
second.backward()  # expect: hazard type=stale-gradient

third = weight.exp().sum() + weight.pow(2).sum()
weight.data = torch.ones(60)
third.backward()  # expect: hazard type=stale-gradient

fourth = weight.add(1).pow(2).sum() + weight.sin().sum()
clip([weight], 0.2, 0.5)
fourth.backward()  # expect: hazard type=stale-gradient

inputs = torch.ones(60)
fifth = (weight * inputs).sum()
inputs.data.mul_(7)
sixth = (weight * inputs).sum()
sixth.backward()
fifth.backward()  # expect: hazard type=stale-gradient
with torch.no_grad():
    seventh = None
    weight.add_(1)
print(weight.shape)
