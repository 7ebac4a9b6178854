"""Averaged weights of 256 KiB are swapped in for a look at them between forward and backward, and put back."""
import torch

torch.manual_seed(0)
model = torch.nn.Linear(256, 256)
weights = model.weight.detach().numpy()  # expect: alias
average = weights * 0.5
inputs = torch.randn(8, 256, requires_grad=True)
for step in range(4):
    loss = model(inputs).pow(2).mean()
    kept = weights.copy()
    weights[:] = average  # maybe: mutation writer=numpy
    print(model(inputs).sum().item() != 0)  # maybe: read
    weights[:] = kept  # maybe: mutation writer=numpy
    loss.backward()
