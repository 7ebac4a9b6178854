"""A step that calls a closure, as Lightning's, skorch's and L-BFGS's do: the backward in it is not the end of the step."""
import torch

torch.manual_seed(0)
weights = {"plain": [], "second order": []}
for kind, make in (
    ("plain", lambda parameters: torch.optim.SGD(parameters, lr=0.1)),
    ("second order", lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=2)),
):
    model = torch.nn.Linear(4, 1, bias=False)
    optimizer = make(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(2, 4)).square().sum()
        loss.backward()
        return loss

    for _ in range(6):
        weights[kind].append(model.weight.data.numpy())  # expect: alias
        optimizer.step(closure)  # expect: mutation writer=torch
print(len(weights["plain"]))
