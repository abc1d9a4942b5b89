"""Gymnasium environments in which an agent must decide where to look.

Importing registers every `Glimpse/...` id; the compiled kernels load with the first environment.
"""

from glimpse_env.registry import TABLE, EnvConfig, register_envs

__version__ = "0.1.0"
__all__ = ["TABLE", "EnvConfig", "register_envs"]

register_envs()
