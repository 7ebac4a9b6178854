"""step() writes every turn, reset() once an episode, after sides have died within backward; both lines are told."""
import numpy as np
import torch

state = np.zeros(6, dtype=np.float32)


def reset():
    state[:] = -1.0  # expect: mutation writer=numpy
    return state


def step(k):
    state[k % 6] += 0.5  # expect: mutation writer=numpy
    return state


torch.manual_seed(0)
net = torch.nn.Linear(6, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
for episode in range(12):
    obs, outs = reset(), []
    for k in range(8):
        x = torch.as_tensor(obs)  # expect: alias
        outs.append(net(x))
        obs = step(k)
    loss = torch.stack(outs).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()  # expect: hazard type=stale-gradient
    optimizer.step()
print("done")
