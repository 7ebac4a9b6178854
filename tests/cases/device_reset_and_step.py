"""reset() writes once an episode, step() every turn, between copies to the device; both lines are told."""
# run: --simulate cuda
import numpy as np
import torch


class Env:
    def __init__(self):
        self.obs = np.zeros((3, 4), np.float32)
        self.obs_t = torch.from_numpy(self.obs)  # expect: alias
        self.t = 0

    def reset(self):
        self.obs[:] = 0.5 + self.t  # expect: mutation writer=numpy
        return self.obs_t.to("cuda")  # expect: transfer direction=h2d count=2

    def step(self, action):
        self.t += 1
        self.obs += 0.1 + action  # expect: mutation writer=numpy
        return self.obs_t.to("cuda"), self.t % 4 == 0  # expect: transfer direction=h2d count=8


torch.manual_seed(0)
policy = torch.nn.Linear(4, 1, device="cuda")
env = Env()
for episode in range(2):
    obs, done = env.reset(), False
    while not done:
        with torch.no_grad():
            action = policy(obs).mean().item()  # expect: sync count=8
        obs, done = env.step(action)
print(env.t)
