"""Weights set again by hand: apply with nn.init, apply_, vector_to_parameters, load_state_dict into a live array."""
import copy

import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh())
start = copy.deepcopy(net.state_dict())
shown = net[0].weight.detach().numpy()  # expect: alias


def reset(module):
    if isinstance(module, torch.nn.Linear):
        torch.nn.init.zeros_(module.weight)  # expect: mutation writer=torch


net.apply(reset)
print(shown.sum(), net[0].weight.sum().item())  # expect: read
net.load_state_dict(start)  # expect: mutation writer=torch
print(shown.sum() != 0, net[0].weight.sum().item() != 0)  # expect: read
with torch.no_grad():
    net[0].weight.detach().apply_(lambda value: value / 2)  # expect: mutation writer=torch
print(net[0].weight.abs().max().item() < 1)  # expect: read
vector = parameters_to_vector(net.parameters()).detach()
vector_to_parameters(vector * 0, net.parameters())
print(net[0].weight.sum().item(), shown.sum() != 0)  # expect: read
