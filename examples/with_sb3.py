"""PPO of Stable-Baselines3 on our native vector env: `python examples/with_sb3.py [--steps 500000]`."""

import argparse

import torch
from stable_baselines3 import PPO

from agents.learn.sb3 import GlimpseVecEnv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--envs", type=int, default=128)
    options = parser.parse_args()
    if min(options.steps, options.envs) < 1:
        parser.error("--steps and --envs must be at least 1")
    torch.set_num_threads(1)
    env = GlimpseVecEnv("Glimpse/MNIST-v0", options.envs, history=True, dataset="mnist-5k")
    model = PPO("MultiInputPolicy", env, n_steps=28, batch_size=28 * options.envs // 4, gamma=1.0, seed=0)
    model.learn(options.steps)

    test = GlimpseVecEnv("Glimpse/MNIST-v0", 1000, history=True, dataset="mnist-5k", split="test")
    observation, done = test.reset(), [False]
    while not done[0]:
        action, _ = model.predict(observation, deterministic=True)
        observation, _, done, infos = test.step(action)
    print(f"right on test digits: {sum(info['is_success'] for info in infos) / 10:.1f}%")


if __name__ == "__main__":
    main()
