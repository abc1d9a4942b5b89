"""PPO of TorchRL on the native vector env: `python examples/with_torchrl.py [--frames 200000]`."""

import argparse

import gymnasium as gym
import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import NormalParamExtractor, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import glimpse_env  # noqa: F401 (registers the ids)
from glimpse_env import wrappers


class Net(nn.Module):
    """All glimpses so far, and where they were -> numbers."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        hidden = (nn.LazyLinear(256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
        self.net = nn.Sequential(*hidden, nn.Linear(256, outputs))

    def forward(self, retina: torch.Tensor, gaze: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat([retina.flatten(-4), gaze.flatten(-2)], -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--envs", type=int, default=128)
    options = parser.parse_args()
    if min(options.frames, options.envs) < 1:
        parser.error("--frames and --envs must be at least 1")
    torch.manual_seed(0)
    made = gym.make_vec("Glimpse/MNIST-v0", options.envs, dataset="mnist-5k", autoreset_mode="SameStep")
    env = GymWrapper(wrappers.VectorBoxAction(wrappers.VectorGlimpseHistory(made)))
    size = env.action_spec.shape[-1]
    seen = ["retina", "gaze"]
    policy = TensorDictSequential(
        TensorDictModule(Net(2 * size), seen, ["parameters"]),
        TensorDictModule(NormalParamExtractor(), ["parameters"], ["loc", "scale"]),
    )
    actor = ProbabilisticActor(
        policy, ["loc", "scale"], spec=env.action_spec, distribution_class=TanhNormal, return_log_prob=True
    )
    critic = ValueOperator(Net(1), seen)
    critic(actor(env.reset()))  # which gives lazy layers their size
    advantage = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
    loss = ClipPPOLoss(actor, critic, entropy_coeff=1e-3)
    optimizer = torch.optim.Adam(loss.parameters(), 3e-4)
    batch = 14 * options.envs  # two episodes a row
    frames = max(options.frames // batch, 1) * batch
    for data in Collector(env, actor, frames_per_batch=batch, total_frames=frames):
        with torch.no_grad():
            advantage(data)
        flat = data.reshape(-1)
        for rows in torch.randperm(len(flat)).repeat(4).split(len(flat) // 4):
            losses = loss(flat[rows])
            optimizer.zero_grad()
            sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
            optimizer.step()
        print(f"right: {100 * data['next', 'reward'].sum() / data['next', 'done'].sum():.1f}%")


if __name__ == "__main__":
    main()
