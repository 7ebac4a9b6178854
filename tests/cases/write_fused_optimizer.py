"""A fused optimizer bumps no version; the history of weights is one array many times all the same."""
import torch

torch.manual_seed(0)
model = torch.nn.Linear(10, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
history = []
for _ in range(3):
    loss = model(torch.randn(4, 10)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # expect: mutation
    history.append(model.weight.detach().numpy())  # expect: alias count=3
print((history[0] == history[-1]).all())
