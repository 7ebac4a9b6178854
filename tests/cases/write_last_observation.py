"""The environment returns its own state: the last observation and the next one are the same tensor values."""
import numpy as np
import torch


class Pendulum:
    def __init__(self):
        self.observation = np.array([1.0, 0.0, 0.0], dtype=np.float32)

    def reset(self):
        return self.observation

    def step(self, action):
        angle = self.observation[2] + float(action)  # expect: read
        self.observation[:] = np.cos(angle), np.sin(angle), angle  # expect: mutation writer=numpy
        return self.observation, -abs(angle)


environment = Pendulum()
last = torch.as_tensor(environment.reset())  # expect: alias
transitions = []
for _ in range(3):
    observation, reward = environment.step(torch.tensor(0.1))
    following = torch.as_tensor(observation)  # expect: alias
    transitions.append((last, reward, following))
    last = following
print(all((a == b).all().item() for a, _, b in transitions))  # expect: read
