"""PPO of skrl on the native vector env: `python examples/with_skrl.py [--steps 2000]`."""

import argparse
from typing import Any

import gymnasium as gym
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, Model, MultiCategoricalMixin
from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg
from torch import nn

import glimpse_env  # noqa: F401 (registers the ids)
from glimpse_env import wrappers


class Net(Model):
    """The flattened observation -> `outputs` numbers."""

    def __init__(self, outputs: int, mixin: type, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        mixin.__init__(self)
        hidden = (nn.Linear(self.num_observations, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
        self.net = nn.Sequential(*hidden, nn.Linear(256, outputs))

    def compute(self, inputs: dict[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.net(inputs["observations"]), {}


def net(mixin: type, outputs: int, spaces: dict[str, Any]) -> Model:
    """The mixin says what the numbers mean: logits of a distribution, or a value."""
    return type(mixin.__name__, (mixin, Net), {"__init__": Net.__init__})(outputs, mixin, **spaces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--envs", type=int, default=128)
    options = parser.parse_args()
    if options.steps < 7 or options.envs < 1:
        parser.error("--steps must be at least 7, one episode, and --envs at least 1")
    torch.manual_seed(0)
    made = gym.make_vec("Glimpse/MNIST-v0", options.envs, dataset="mnist-5k", autoreset_mode="SameStep")
    seen = gym.wrappers.vector.RecordEpisodeStatistics(made, buffer_length=10 * options.envs)
    env = wrap_env(wrappers.VectorGridAction(wrappers.VectorGlimpseHistory(seen)))
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": "cpu"}
    scores = sum(env.action_space.nvec)  # of each column, each row and each answer
    models = {
        "policy": net(MultiCategoricalMixin, scores, spaces),
        "value": net(DeterministicMixin, 1, spaces),
    }
    memory = RandomMemory(memory_size=14, num_envs=options.envs, device="cpu")  # two episodes a row
    settings = PPO_CFG(rollouts=14, learning_epochs=4, mini_batches=4, discount_factor=1.0)
    settings.experiment.write_interval = settings.experiment.checkpoint_interval = 0  # leave no files
    agent = PPO(models=models, memory=memory, cfg=settings, **spaces)
    trainer = SequentialTrainerCfg(timesteps=options.steps, headless=True)
    SequentialTrainer(env=env, agents=agent, cfg=trainer).train()
    print(f"right: {100 * sum(seen.return_queue) / len(seen.return_queue):.1f}%")


if __name__ == "__main__":
    main()
