"""Everything in place, and no array anywhere: BatchNorm, dropout, EMA, clipping, accumulation, fused steps."""
import copy

import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(inplace=True), torch.nn.Linear(6, 1))
teacher = copy.deepcopy(net)
optimizer = torch.optim.Adam(net.parameters(), fused=True)
best = None
for step in range(4):
    inputs = torch.randn(8, 6)
    inputs.sub_(inputs.mean()).div_(inputs.std())
    loss = net(inputs).square().mean()
    loss.backward()
    if step % 2:
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    with torch.no_grad():
        for slow, fast in zip(teacher.parameters(), net.parameters()):
            slow.lerp_(fast, 0.1)
    best = copy.deepcopy(net.state_dict())
net.load_state_dict(best)
print(len(best))
