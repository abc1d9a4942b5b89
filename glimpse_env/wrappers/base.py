"""What all wrappers share: each records how it was made, so that a spec can make it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.spaces import Dict
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorWrapper

from glimpse_env.single import GlimpseEnv
from glimpse_env.vector import GlimpseVectorEnv, Observation

SingleEnv = gymnasium.Env[Observation, Any]

if TYPE_CHECKING:
    _VectorWrapper = VectorWrapper[Any, Any, Any, Any, Any]
else:  # which is not generic before Gymnasium 1.4
    _VectorWrapper = VectorWrapper


class SingleView(gymnasium.Wrapper[Any, Any, Observation, Any], RecordConstructorArgs):
    """A wrapper of a single env that can be made again from its spec: it records how it was made."""

    def __init__(self, env: SingleEnv, **recorded: Any) -> None:
        RecordConstructorArgs.__init__(self, **recorded)
        gymnasium.Wrapper.__init__(self, env)
        self.inner = glimpse_env_of(env)


class VectorView(_VectorWrapper, RecordConstructorArgs):
    """A wrapper of the native vector env that records how it was made."""

    def __init__(self, env: Any, **recorded: Any) -> None:
        RecordConstructorArgs.__init__(self, **recorded)
        _VectorWrapper.__init__(self, env)
        self.inner = glimpse_env_of(env)
        self.autoreset_mode = env.metadata["autoreset_mode"]  # TorchRL looks for it here


def views_of(space: gymnasium.Space[Any] | None, *keys: str) -> Dict:
    """A space of observations that is a Dict with `keys`; ValueError where another wrapper took them."""
    if not (isinstance(space, Dict) and set(keys) <= space.spaces.keys()):
        wanted = f" with {', '.join(keys)}" if keys else ""
        raise ValueError(
            f"this wrapper changes the environment's own observation, a Dict{wanted}, and got {space}: wrap "
            "with it first"
        )
    return space


def glimpse_env_of(env: Any) -> GlimpseVectorEnv:
    """The native vector env inside a wrapped env, of one row where it is single; TypeError for another."""
    inner = env.unwrapped
    inner = inner.vector if isinstance(inner, GlimpseEnv) else inner
    if not isinstance(inner, GlimpseVectorEnv):
        raise TypeError(f"the wrapper is for Glimpse environments, got {inner}")
    return inner
