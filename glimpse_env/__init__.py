"""Gymnasium environments in which an agent must decide where to look.

Importing registers every `Glimpse/...` id; the compiled kernels load with the first environment.
"""

from typing import Any

from glimpse_env.registry import TABLE, EnvConfig, register_envs


def register_custom(name: str, images: Any, labels: Any = None, **keywords: Any) -> str:
    """Register `Glimpse/NAME-v0` over your own data; see `glimpse_env.custom.register_custom`."""
    from glimpse_env import custom  # numpy and the images load when asked for

    return custom.register_custom(name, images, labels, **keywords)


def make_custom(images: Any, labels: Any = None, *, num_envs: int | None = None, **keywords: Any) -> Any:
    """An environment over your own pictures (N, h, w) with labels (N,) or captions, or sentences.

    `glimpse_env.custom.register_custom` explains all that can be given.
    """
    from glimpse_env import custom

    return custom.make_custom(images, labels, num_envs=num_envs, **keywords)


__version__ = "0.2.0"
__all__ = ["TABLE", "EnvConfig", "make_custom", "register_custom", "register_envs"]

register_envs()
