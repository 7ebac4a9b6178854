"""Batches are scaled in place by PyTorch before the forward pass, step by step: nothing is stale, and once the line is known
nothing is said to be."""
import numpy as np
import torch

source = np.random.default_rng(0)
layer = torch.nn.Linear(6, 1)
optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
for _ in range(6):
    batch = source.random((4, 6)).astype(np.float32)
    inputs = torch.from_numpy(batch)  # expect: alias
    inputs.div_(255)  # expect: mutation writer=torch
    loss = layer(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    batch.sum()
