"""Single environments, each in a process of its own: `python examples/in_processes.py [--envs 4]`.

AsyncVectorEnv plays the episodes that the native vector env plays in one process, where they are far cheaper.
"""

import argparse

import gymnasium as gym
import numpy as np

import glimpse_env  # noqa: F401 (registers the ids)


def play(mode: str, envs: int, steps: int) -> np.ndarray:
    """At random. Return the rewards, (steps, envs)."""
    env = gym.make_vec("Glimpse/MNIST-v0", envs, vectorization_mode=mode, dataset="mnist-5k")
    env.action_space.seed(0)
    env.reset(seed=list(range(envs)))
    rewards = np.stack([env.step(env.action_space.sample())[1] for _ in range(steps)])
    env.close()
    return rewards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envs", type=int, default=4)
    parser.add_argument("--episodes", type=int, default=100, help="of each env")
    options = parser.parse_args()
    if min(options.envs, options.episodes) < 1:
        parser.error("--envs and --episodes must be at least 1")
    steps = 8 * options.episodes  # seven glimpses, and the step that only resets
    rewards = play("async", options.envs, steps)
    native = play("vector_entry_point", options.envs, steps)
    right = rewards.sum() / (options.envs * options.episodes)
    print(f"the same in one process: {np.array_equal(rewards, native)}; right: {100 * right:.1f}%")


if __name__ == "__main__":
    main()
