"""An array of the weights was looked at and let go before the next step."""
import torch

torch.manual_seed(0)
model = torch.nn.Linear(40, 40)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
norms = []


def report():
    weights = model.weight.detach().numpy()
    norms.append(float((weights**2).sum()))


for _ in range(3):
    report()
    optimizer.zero_grad()
    model(torch.ones(2, 40)).sum().backward()
    optimizer.step()
view = model.bias.detach().numpy()
largest = view.max()
del view
with torch.no_grad():
    model.bias.zero_()
print(len(norms), largest.shape)
