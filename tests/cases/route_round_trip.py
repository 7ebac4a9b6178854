"""A target network is built from the online network's arrays: it follows each step of the optimizer."""
import torch

torch.manual_seed(0)
online = torch.nn.Linear(6, 6)
target = torch.nn.Linear(6, 6)
for slow, fast in zip(target.parameters(), online.parameters()):
    array = fast.detach().numpy()  # expect: alias
    slow.data = torch.from_numpy(array)  # expect: alias
before = target.weight.detach().clone()
optimizer = torch.optim.SGD(online.parameters(), lr=0.1)
online(torch.ones(2, 6)).sum().backward()
optimizer.step()  # expect: mutation
print(torch.equal(before, target.weight))
