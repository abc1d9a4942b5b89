"""Batches of episodes in Ray's actors, one a core: `python examples/in_ray_actors.py [--actors 2]`."""

import argparse

import gymnasium as gym
import numpy as np
import ray


@ray.remote(num_cpus=1)
class Player:
    """One native vector env; its rows are numbered on from those of the actors before it."""

    def __init__(self, rank: int, rows: int) -> None:
        made = {"dataset": "mnist-5k", "autoreset_mode": "Disabled"}
        self.env = gym.make_vec("glimpse_env:Glimpse/MNIST-v0", rows, **made)
        self.seeds = list(range(rank * rows, (rank + 1) * rows))
        self.env.action_space.seed(rank)

    def play(self) -> np.ndarray:
        """Play an episode a row, at random here; return the rewards."""
        self.env.reset(seed=self.seeds)
        self.seeds = None  # from now on each row goes on to its next episode
        while True:
            _, rewards, terminated, truncated, _ = self.env.step(self.env.action_space.sample())
            if (terminated | truncated).all():
                return rewards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--rows", type=int, default=256, help="in each actor")
    parser.add_argument("--batches", type=int, default=10)
    options = parser.parse_args()
    if min(options.actors, options.rows, options.batches) < 1:
        parser.error("--actors, --rows and --batches must be at least 1")
    ray.init(num_cpus=options.actors, include_dashboard=False, log_to_driver=False)
    actors = [Player.remote(rank, options.rows) for rank in range(options.actors)]
    rewards = ray.get([actor.play.remote() for _ in range(options.batches) for actor in actors])
    print(f"{np.size(rewards)} episodes, right: {100 * np.mean(rewards):.1f}%")


if __name__ == "__main__":
    main()
