"""The best state of a device model, kept by reference and loaded at the end (default foreach optimizer)."""
# run: --simulate cuda
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 2, device="cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
best = model.state_dict()  # expect: alias
for _ in range(3):
    optimizer.zero_grad()
    model(torch.ones(2, 4, device="cuda")).square().sum().backward()
    optimizer.step()  # expect: mutation writer=torch
model.load_state_dict(best)  # expect: hazard type=followed-state
