"""What the project promises of its agent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agent import Agent, Memory, Pole


def play(steps: int) -> Memory:
    """An episode."""
    pole, memory = Pole(), Memory()
    for step in range(steps):
        memory.add(*pole.step(step % 3 - 1.0))
    return memory


@pytest.mark.tensorwatch(mutation="error")
def test_what_is_remembered_is_not_written_again() -> None:
    """Each observation is kept as it was."""
    assert len(play(5).observations) == 5


def test_a_step_does_not_wait(cuda: str, tensorwatch: Any) -> None:
    """Training never waits for the device; reading the losses afterwards does, and may."""
    agent, batch = Agent(cuda), play(8).batch(cuda)
    with tensorwatch(sync=0):
        for _ in range(3):
            agent.update(*batch)
        assert len(agent.losses) == 3


def test_it_learns(cuda: str) -> None:
    """The loss goes down."""
    torch.manual_seed(0)
    agent = Agent(cuda)
    batch: tuple[torch.Tensor, torch.Tensor] = play(8).batch(cuda)
    for _ in range(20):
        agent.update(*batch)
    assert agent.losses[-1] < agent.losses[0]
    assert agent.best <= agent.losses[0]
