"""A tiny agent as it was: it remembers one observation many times, and waits for the GPU three times a step."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss


class Pole:
    """A toy environment. Like many real ones, it reuses its observation array."""

    def __init__(self) -> None:
        self.state = np.zeros(4, dtype=np.float32)

    def step(self, action: float) -> tuple[np.ndarray, float]:
        """Push; returns the observation and a reward."""
        self.state += np.float32(0.1) * np.float32(action) + np.arange(4, dtype=np.float32)
        return self.state, float(-np.abs(self.state).sum())


class Memory:
    """What the agent has seen."""

    def __init__(self) -> None:
        self.observations: list[torch.Tensor] = []
        self.rewards: list[float] = []

    def add(self, observation: np.ndarray, reward: float) -> None:
        """Remember one step."""
        self.observations.append(torch.from_numpy(observation))
        self.rewards.append(reward)

    def batch(self, device: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Everything, on a device."""
        return torch.stack(self.observations).to(device), torch.tensor(self.rewards, device=device)


class Agent:
    """Learns to predict the reward."""

    def __init__(self, device: str) -> None:
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1)).to(device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-4)
        self.losses: list[float] = []
        self.best = float("inf")

    def update(self, observations: torch.Tensor, rewards: torch.Tensor) -> None:
        """One training step."""
        loss = mse_loss(self.net(observations).squeeze(1), rewards)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if loss < self.best:
            self.best = loss.item()
        self.losses.append(loss.item())
