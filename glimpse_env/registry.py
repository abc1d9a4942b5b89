"""Where ids are born: one frozen config an id, registered in Gymnasium.

Every field is a keyword of `gymnasium.make` and `make_vec`. Sizes and budgets are those of Mnih et al.
(2014), "Recurrent Models of Visual Attention", tables 1 and 2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import gymnasium

SINGLE = "glimpse_env.single:GlimpseEnv"
VECTOR = "glimpse_env.vector:GlimpseVectorEnv"


@dataclass(frozen=True)
class EnvConfig:
    """What an id fixes: the scene and the retina (in pixels), the task and the budget of glimpses."""

    canvas_size: int
    distractors: int
    retina_size: int
    scales: int
    horizon: int
    dataset: str = "mnist"
    scene: str = "digits"
    digits: int = 1
    task: str = "classify"


TABLE = {
    "Glimpse/MNIST-v0": EnvConfig(28, 0, retina_size=8, scales=1, horizon=7),
    "Glimpse/TranslatedMNIST-v0": EnvConfig(60, 0, retina_size=12, scales=3, horizon=8),
    "Glimpse/ClutteredMNIST-v0": EnvConfig(60, 4, retina_size=12, scales=3, horizon=8),
    "Glimpse/ClutteredMNIST100-v0": EnvConfig(100, 8, retina_size=12, scales=4, horizon=8),
    "Glimpse/FashionMNIST-v0": EnvConfig(28, 0, 8, 1, horizon=7, dataset="fashion-mnist"),
    "Glimpse/CIFAR10-v0": EnvConfig(32, 0, 8, 2, horizon=8, dataset="cifar10"),
    "Glimpse/DigitPair-v0": EnvConfig(100, 8, 12, 4, horizon=8, digits=2, task="read"),
    "Glimpse/DigitSum-v0": EnvConfig(100, 8, 12, 4, horizon=8, digits=2, task="sum"),
    # Up to five digits and END, three glimpses each, as in Ba et al. (2015).
    "Glimpse/HouseNumbers-v0": EnvConfig(54, 0, 12, 2, horizon=18, scene="houses", task="read"),
}


DEFAULTS = {field.name: field.default for field in fields(EnvConfig)}


def register_envs() -> None:
    """Register every id of TABLE, once."""
    for env_id, config in TABLE.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point=SINGLE,
                vector_entry_point=VECTOR,
                kwargs={key: value for key, value in asdict(config).items() if value != DEFAULTS.get(key)},
            )
