"""A fused step between two backward passes of one forward: stock PyTorch notices foreach, but not fused."""
import torch

torch.manual_seed(0)
encoder, decoder = torch.nn.Linear(20, 20, bias=False), torch.nn.Linear(20, 20, bias=False)
optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=10.0, fused=True)
inputs = torch.ones(1, 20)
reconstruction = decoder(encoder(inputs)).sum()
regularizer = decoder(encoder(inputs)).sum()
reconstruction.backward()
optimizer.step()
optimizer.zero_grad()
regularizer.backward()  # expect: hazard type=stale-gradient
print(encoder.weight.grad.shape)
