"""A data set of episodes for offline learning: `python examples/with_minari.py [--episodes 500]`.

Minari writes it to its folder, ~/.minari, or to MINARI_DATASETS_PATH.
"""

import argparse

import gymnasium as gym
import minari

import glimpse_env  # noqa: F401 (registers the ids)
from glimpse_env import wrappers

NAME = "glimpse/mnist/random-v0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=500)
    options = parser.parse_args()
    if options.episodes < 1:
        parser.error("--episodes must be at least 1")
    if NAME in minari.list_local_datasets():
        parser.error(f"{NAME} is there already; `minari delete {NAME}` removes it")
    made = gym.make("Glimpse/MNIST-v0", dataset="mnist-5k", constant_info=True)  # the same keys at every step
    env = minari.DataCollector(wrappers.GridAction(made), record_infos=True)
    env.action_space.seed(0)
    for episode in range(options.episodes):
        env.reset(seed=episode)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
    env.create_dataset(
        dataset_id=NAME, algorithm_name="random", description="A gaze and an answer at random."
    )
    env.close()

    data = minari.load_dataset(NAME)
    right = sum(episode.rewards.sum() for episode in data.iterate_episodes()) / len(data)
    glimpses = next(iter(data.iterate_episodes())).observations["retina"][:-1]  # the last is repeated
    print(
        f"{len(data)} episodes of {len(glimpses)} glimpses of {glimpses[0].shape}, right: {100 * right:.1f}%"
    )


if __name__ == "__main__":
    main()
