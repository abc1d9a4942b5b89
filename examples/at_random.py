"""Random gazes and answers, with Gymnasium alone: one answer in ten is right."""

import argparse

import gymnasium as gym
import numpy as np

from glimpse_env.registry import TABLE, with_dataset  # which registers the ids, too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--id", default="Glimpse/ClutteredMNIST-v0", choices=TABLE)
    parser.add_argument("--episodes", type=int, default=2000)
    options = parser.parse_args()
    if options.episodes < 1:
        parser.error("--episodes must be at least 1")
    envs = gym.make_vec(options.id, num_envs=100, **with_dataset(options.id, "mnist-5k"))
    envs.action_space.seed(0)
    envs.reset(seed=0)
    right: list[bool] = []
    while len(right) < options.episodes:
        _, _, terminated, _, info = envs.step(envs.action_space.sample())
        if terminated.any():
            right += info["correct"][terminated].tolist()
    print(f"right: {100 * np.mean(right):.1f}% of {len(right)} episodes")


if __name__ == "__main__":
    main()
