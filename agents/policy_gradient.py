"""Training of agents that look hard: cross-entropy for the answer, REINFORCE for the gaze."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from agents import losses
from agents.dram import DRAM
from agents.evaluate import make_env
from agents.layers import CONVOLUTIONS
from agents.ram import RAM, Core, Glimpses, Policy
from agents.rollout import rollout
from agents.runs import Run
from agents.training import (
    BatchResult,
    Training,
    check_no_context,
    check_not_negative,
    check_positive,
    error_on_validation,
    train,
)


@dataclasses.dataclass(frozen=True)
class PolicyGradient(Training):
    """An experiment of RAM, or of DRAM, which sees a context where `env` has one.

    policy, glimpses, core, detach: of RAM, see there; DRAM's glimpses are convolutions, not "fc". first_gaze:
    in training, unless env's start_gaze is "blind"; in evaluation it is env's start_gaze. sigma: of the gaze,
    in gaze units, going to sigma_end in a straight line, or learned, where an entropy bonus keeps it from
    vanishing (entropy_weight, of a nat).
    reinforce_weight: of REINFORCE beside the answer's cross-entropy. rollouts: episodes an image.
    baseline: what REINFORCE subtracts, the learned value of each step or the mean of the image's other
    rollouts (which needs two or more). objective: what the gaze is paid with, the right answers up to the
    first wrong one (REINFORCE) or log p(target | glimpses), which makes the loss a sample of the variational
    bound (Ba et al. 2015, equation 10; the lecture's F). trace: see losses.reinforce. backward: DRAM reads
    from the last digit to the first.
    """

    model: Literal["ram", "dram"] = "ram"
    policy: Policy = "learned"
    glimpses: Glimpses = "fc"
    core: Core = "relu"
    first_gaze: Literal["random", "center"] = "random"
    hidden: int = 256
    sigma: float = 0.15
    sigma_end: float = 0.03
    entropy_weight: float = 0.0
    reinforce_weight: float = 0.1
    detach: bool = False
    baseline: Literal["learned", "leave_one_out"] = "learned"
    objective: Literal["reinforce", "variational"] = "reinforce"
    trace: float = 1.0
    rollouts: int = 1
    backward: bool = False

    @property
    def learn_sigma(self) -> bool:
        """Whether sigma is a weight rather than a schedule."""
        return self.entropy_weight > 0

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        check_positive(self, "sigma", "sigma_end", "rollouts", "hidden")
        check_not_negative(self, "entropy_weight", "reinforce_weight")
        if not 0 <= self.trace <= 1:
            raise ValueError(f"trace must be between 0 and 1, got {self.trace}")
        if self.backward and self.model != "dram":
            raise ValueError(f"backward is for model 'dram', got model {self.model!r}")
        if self.model != "dram":
            check_no_context(self.env, f"model {self.model!r}", "retina and gaze")
        if self.model == "dram" and self.glimpses not in CONVOLUTIONS:
            raise ValueError(f"glimpses of model 'dram' must be one of {CONVOLUTIONS}, got {self.glimpses!r}")
        if self.model == "dram" and (self.policy, self.core, self.detach) != ("learned", "relu", False):
            raise ValueError("policy, core and detach are of model 'ram': leave them out for model 'dram'")
        if self.baseline == "leave_one_out" and self.rollouts < 2:
            raise ValueError(f"baseline leave_one_out needs rollouts of 2 or more, got {self.rollouts}")


def train_policy_gradient(
    run: Run, settings: PolicyGradient, agent: RAM | DRAM, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train `agent` by the hybrid loss of Mnih et al. (2014) and yield each epoch's metrics.

    From a fixed first gaze the classifier overfits its few views (unless the digit moves: see jitter).
    """
    first = "blind" if settings.env.get("start_gaze") == "blind" else settings.first_gaze
    env = make_env(
        agent,
        settings.env_id,
        settings.batch_size * settings.rollouts,
        **{**settings.env, "split": "train", "start_gaze": first},
    )
    yield from train(
        run, settings, agent, hybrid_batch(settings, agent, env), error_on_validation(settings), quiet=quiet
    )
    env.close()


def hybrid_batch(
    settings: PolicyGradient, agent: RAM | DRAM, env: Any
) -> Callable[[list[int] | None, float], BatchResult]:
    """The batch function of `train`: play, then cross-entropy + REINFORCE + baseline error."""

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        if settings.curriculum > 0:
            env.unwrapped.difficulty = min(1.0, progress / settings.curriculum)
        agent.locator.sigma = settings.sigma + progress * (settings.sigma_end - settings.sigma)
        rows = None if seeds is None else np.repeat(seeds, settings.rollouts).tolist()
        played = rollout(agent, env, sample=True, seed=rows)
        logits, target = played.answers, played.target
        loss = losses.cross_entropy(logits, target)
        right = losses.right_so_far(logits, target)
        paid = (right & (target >= 0)).float()
        if settings.objective == "variational":
            paid = losses.log_likelihood(logits, target).detach()
        reward_tb = played.earned(paid)
        baseline = played.baseline * played.asked()
        if settings.baseline == "leave_one_out":
            baseline = losses.leave_one_out(losses.returns(reward_tb), settings.rollouts)
        else:
            loss = loss + losses.baseline_error(baseline, losses.returns(reward_tb))
        if settings.policy == "learned":
            gaze_loss = losses.reinforce(played.log_prob, reward_tb, baseline, settings.trace)
            loss = loss + settings.reinforce_weight * gaze_loss
            if settings.learn_sigma:
                loss = loss - settings.entropy_weight * agent.locator.entropy()
        reward = right[:, -1].float().mean()
        return BatchResult(loss, {"train_error": 100 * (1 - reward), "reward": reward})

    return batch
