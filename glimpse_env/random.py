"""The random stream of all worlds: a scene is a pure function of (row key, episode number).

Randomness is counter-based: a state is hashed by SplitMix64 (Steele, Lea, Flood 2014) for every draw, inside
the kernels. So the scenes of a row depend neither on the other rows, nor on the batch size, nor on what was
drawn before. A kernel that draws begins with `state = begin(key, episode)`, and for each draw adds `GOLDEN`
to the state and gives `mix(state)` to `below` or `unit`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glimpse_env.kernels import inlined, kernel

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
TO_UNIT = 2.0**-53
FROZEN_SEED = 1_000_003  # names the frozen scenes; changing it makes new `-v` ids necessary
SPLITS = ("train", "validation", "test")


@inlined
def mix(z: np.uint64) -> np.uint64:
    """SplitMix64's finaliser, uint64 to uint64: every input bit moves every output bit."""
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


@inlined
def begin(key: np.uint64, episode: int) -> np.uint64:
    """The state that the scene of an episode is drawn from."""
    return mix(key ^ mix(np.uint64(episode) + GOLDEN))


@inlined
def below(n: int, bits: np.uint64) -> int:
    """A uniform integer in [0, n) from 64 random bits, by multiply and shift (bias below n / 2**32)."""
    # To numba, int() of an unsigned number is unsigned, and mixing signs makes a float.
    high = ((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)
    return np.int64(high)  # type: ignore[return-value]  # an int to whoever calls


@inlined
def unit(bits: np.uint64) -> np.float64:
    """A uniform float64 in [0, 1) from 64 random bits."""
    return np.float64(bits >> np.uint64(11)) * TO_UNIT


@kernel
def row_keys(seeds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Row keys (B,) of `seeds` (B,): nearby seeds get unrelated keys."""
    keys = np.empty_like(seeds)
    for b in range(seeds.shape[0]):
        keys[b] = mix(seeds[b] + GOLDEN)
    return keys


def frozen_keys(split: str, num_rows: int) -> NDArray[np.uint64]:
    """The key (B,) that every frozen scene of `split` is drawn from; its episode is the scene's index."""
    seeds = np.full(num_rows, FROZEN_SEED + SPLITS.index(split), np.uint64)
    keys: NDArray[np.uint64] = row_keys(seeds)
    return keys
