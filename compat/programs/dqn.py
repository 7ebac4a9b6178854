"""Stable-Baselines3: DQN on CartPole, with its replay buffer, then saved and loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gymnasium
from outcome import told, told_state, training
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy


def main() -> None:
    env = gymnasium.make("CartPole-v1")
    model = DQN(
        "MlpPolicy", env, learning_starts=500, buffer_size=5_000, target_update_interval=250, train_freq=4, seed=1, device="cpu"
    )
    with training():
        model.learn(8_000)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "dqn.zip")
            again = DQN.load(Path(folder) / "dqn.zip", env=env)
        mean, spread = evaluate_policy(again, again.get_env(), n_eval_episodes=4)
    told("loss", [model.logger.name_to_value.get("train/loss", 0.0)])
    told("reward", [float(mean), float(spread)])
    told_state(again.policy)


if __name__ == "__main__":
    main()
