"""LBFGS moves the weights inside its step, again and again, while an array of them is watched."""
import torch

torch.manual_seed(0)
weight = torch.nn.Parameter(torch.tensor([4.0, -3.0, 2.0]))
optimizer = torch.optim.LBFGS([weight], lr=0.3, max_iter=4)
watched = weight.detach().numpy()  # expect: alias
start = watched.copy()


def closure():
    optimizer.zero_grad()
    loss = (weight**2).sum()
    loss.backward()
    return loss


optimizer.step(closure)  # expect: mutation
print(abs(watched).sum() < abs(start).sum())
