"""PPO of Tianshou on 16 single environments: `python examples/with_tianshou.py [--epochs 20]`."""

import argparse

import gymnasium as gym
import torch
from tianshou.algorithm.modelfree.ppo import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
from torch.distributions import Independent, Normal

import glimpse_env  # noqa: F401 (registers the ids)
from glimpse_env import wrappers


def make() -> gym.Env:
    """One flat observation of every glimpse so far, and one flat action."""
    env = gym.make("Glimpse/MNIST-v0", dataset="mnist-5k")
    return gym.wrappers.FlattenObservation(wrappers.BoxAction(wrappers.GlimpseHistory(env)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10_000, help="in an epoch")
    options = parser.parse_args()
    if min(options.epochs, options.steps) < 1:
        parser.error("--epochs and --steps must be at least 1")
    torch.manual_seed(0)
    envs = DummyVectorEnv([make] * 16)
    envs.seed(0)
    env = make()
    sizes = {"state_shape": env.observation_space.shape, "hidden_sizes": [256, 256]}
    policy = ProbabilisticActorPolicy(
        actor=ContinuousActorProbabilistic(
            preprocess_net=Net(**sizes), action_shape=env.action_space.shape, unbounded=True
        ),
        dist_fn=lambda loc_scale: Independent(Normal(*loc_scale), 1),
        action_space=env.action_space,
        action_scaling=False,  # the env clips the gaze itself, and takes the highest score for the answer
        action_bound_method=None,
    )
    critic = ContinuousCritic(preprocess_net=Net(**sizes))
    algorithm = PPO(policy=policy, critic=critic, optim=AdamOptimizerFactory(lr=1e-3), gamma=1.0)
    collector = Collector(algorithm, envs, VectorReplayBuffer(20_000, len(envs)))
    settings = OnPolicyTrainerParams(training_collector=collector, max_epochs=options.epochs)
    settings.epoch_num_steps = options.steps
    settings.collection_step_num_env_steps = min(1792, options.steps)
    settings.batch_size, settings.update_step_num_repetitions = 448, 4
    algorithm.run_training(settings)
    collector.reset()
    with torch.no_grad():
        stats = collector.collect(n_episode=320)
    print(f"right: {100 * stats.returns.mean():.1f}%")


if __name__ == "__main__":
    main()
