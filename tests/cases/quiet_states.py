"""State dicts in everyday code: saved, loaded, counted, mixed, kept and never used again."""
import copy
import io

import torch

torch.manual_seed(0)
model, target = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
names = model.state_dict()
at_start = copy.deepcopy(model.state_dict())
average = {name: value.clone() for name, value in model.state_dict().items()}
for epoch in range(3):
    optimizer.zero_grad()
    model(torch.randn(4, 8)).pow(2).mean().backward()
    optimizer.step()
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(checkpoint, io.BytesIO())
    online, slow = model.state_dict(), target.state_dict()
    for name in online:
        slow[name] = 0.9 * slow[name] + 0.1 * online[name]
        average[name].mul_(0.9).add_(online[name], alpha=0.1)
    target.load_state_dict(slow)
    before = model.state_dict()
    model.load_state_dict(before)
    torch.save(before, io.BytesIO())
    merged = model.state_dict()
    merged.update({name: value for name, value in at_start.items() if name == "bias"})
    model.load_state_dict(merged)
    model.load_state_dict(at_start)
print(len(names), sum(value.numel() for value in model.state_dict().values()))
