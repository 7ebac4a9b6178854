"""Stable-Baselines3: PPO on CartPole, four environments."""

from __future__ import annotations

from outcome import told, told_state, training
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy


class Losses(BaseCallback):
    """Keeps what was logged at the end of every rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        logged = sorted(self.logger.name_to_value.items())
        self.seen += [value for name, value in logged if name.startswith("train/") and isinstance(value, float)]


def main() -> None:
    env = make_vec_env("CartPole-v1", n_envs=4, seed=1)
    model = PPO("MlpPolicy", env, n_steps=256, batch_size=64, seed=1, device="cpu")
    losses = Losses()
    with training():
        model.learn(8_000, callback=losses)
        mean, spread = evaluate_policy(model, env, n_eval_episodes=8)
    told("logged", losses.seen)
    told("reward", [float(mean), float(spread)])
    told_state(model.policy)


if __name__ == "__main__":
    main()
