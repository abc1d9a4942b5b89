"""PPO of RLlib on the native vector env: `python examples/with_rllib.py [--iterations 60]`."""

import argparse
import os
from typing import Any

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray asks for, to say one thing less

import gymnasium as gym
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.tune import register_env

import glimpse_env  # noqa: F401 (registers the ids)
from glimpse_env import wrappers


def make(config: dict[str, Any]) -> gym.vector.VectorEnv:
    """Every glimpse so far in sight, and a gaze on a grid; RLlib says in "num_envs" how many it wants."""
    env = gym.make_vec("Glimpse/MNIST-v0", config.get("num_envs", 1), dataset="mnist-5k")
    return wrappers.VectorGridAction(wrappers.VectorGlimpseHistory(env))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--envs", type=int, default=128)
    options = parser.parse_args()
    if min(options.iterations, options.envs) < 1:
        parser.error("--iterations and --envs must be at least 1")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    register_env("digits", make)
    config = (
        PPOConfig()
        .environment("digits")
        .env_runners(
            num_env_runners=0,  # the batch is played in this process
            num_envs_per_env_runner=options.envs,
            gym_env_vectorize_mode="vector_entry_point",
            env_to_module_connector=lambda env, spaces, device: FlattenObservations(),  # a Dict is refused
        )
        .rl_module(model_config={"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"})
        .training(train_batch_size_per_learner=14 * options.envs, minibatch_size=7 * options.envs // 2)
        .training(num_epochs=4, lr=1e-3, gamma=1.0, lambda_=0.95, entropy_coeff=0.01)
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    for iteration in range(1, options.iterations + 1):
        right = algorithm.train()["env_runners"]["episode_return_mean"]
        print(f"iteration {iteration:4d}  right {100 * right:.1f}%")
    algorithm.stop()


if __name__ == "__main__":
    main()
