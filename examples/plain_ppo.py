"""PPO on whole episodes with torch and no RL library: `python examples/plain_ppo.py [--updates 300]`."""

import argparse

import gymnasium as gym
import torch
from torch import nn
from torch.distributions import Categorical, Normal

import glimpse_env  # noqa: F401 (registers the ids)


class ActorCritic(nn.Module):
    """Every glimpse so far -> distributions of gaze and answer, and the value."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
        self.head = nn.Linear(256, 2 + 10 + 1)

    def forward(self, seen: torch.Tensor) -> tuple[Normal, Categorical, torch.Tensor]:
        out = self.head(self.body(seen))
        return Normal(torch.tanh(out[:, :2]), 0.15), Categorical(logits=out[:, 2:12]), out[:, 12]


def play(model: ActorCritic, envs: gym.vector.VectorEnv, horizon: int) -> tuple[list[torch.Tensor], float]:
    """One episode a row: inputs, gazes, answers, log-probs, values, returns, (T * B, …); the share right."""
    (observation, _), steps = envs.reset(), []
    memory = torch.zeros(envs.num_envs, horizon, observation["retina"][0].size + 2)
    for t in range(horizon):
        seen = [torch.from_numpy(observation[key]).flatten(1) for key in ("retina", "gaze")]
        memory[:, t] = torch.cat(seen, 1)
        with torch.no_grad():
            gaze_policy, answer_policy, value = model(memory.flatten(1))
        gaze, answer = gaze_policy.sample(), answer_policy.sample()
        log_prob = gaze_policy.log_prob(gaze).sum(1) + answer_policy.log_prob(answer)
        steps.append([memory.flatten(1).clone(), gaze, answer, log_prob, value])
        observation, reward, _, _, _ = envs.step({"gaze": gaze.numpy(), "answer": answer.numpy()})
    returns = torch.from_numpy(reward).float().repeat(horizon)
    return [*(torch.cat(column) for column in zip(*steps, strict=True)), returns], float(reward.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--envs", type=int, default=256)
    options, horizon = parser.parse_args(), 7
    if min(options.updates, options.envs) < 1:
        parser.error("--updates and --envs must be at least 1")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    envs = gym.make_vec("Glimpse/MNIST-v0", options.envs, dataset="mnist-5k", autoreset_mode="Disabled")
    envs.reset(seed=0)
    model = ActorCritic(horizon * (64 + 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for update in range(1, options.updates + 1):
        (seen, gaze, answer, old, value, returns), right = play(model, envs, horizon)
        advantage = nn.functional.layer_norm(returns - value, returns.shape)
        for batch in torch.randperm(len(seen)).repeat(4).split(512):
            gaze_policy, answer_policy, value = model(seen[batch])
            new = gaze_policy.log_prob(gaze[batch]).sum(1) + answer_policy.log_prob(answer[batch])
            ratio, worth = (new - old[batch]).exp(), advantage[batch]
            gain = torch.min(ratio * worth, ratio.clamp(0.8, 1.2) * worth).mean()
            loss = -gain + (value - returns[batch]).square().mean() - 0.01 * answer_policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"update {update:4d}  right {100 * right:.1f}%")


if __name__ == "__main__":
    main()
