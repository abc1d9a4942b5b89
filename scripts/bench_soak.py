"""`bench.py soak`: many steps with flat memory, malformed calls, each refused clearly, and faults."""

from __future__ import annotations

import resource
import time
from typing import Any

import bench_faults
import gymnasium
import numpy as np
from tqdm import tqdm

import glimpse_env
from glimpse_env.registry import with_dataset
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.worlds.choose import TEXTS

ROWS = 2048
CALL_ROWS = 4


def soak(steps: int, calls: int, moments: int, dataset: str) -> None:
    """Print steps done, megabytes grown, malformed calls made and not refused well, and what faults did."""
    per_id = -(-steps // len(glimpse_env.TABLE))
    print("| id | steps | steps/s | episodes | memory grown, MB |")
    print("|---|---:|---:|---:|---:|")
    total = 0
    for env_id in glimpse_env.TABLE:
        done, rate, episodes, grown = _walk(env_id, per_id, dataset)
        total += done
        print(f"| {env_id} | {done:,} | {rate:,.0f} | {episodes:,} | {grown:.1f} |", flush=True)
    print(f"\n{total:,} steps over {len(glimpse_env.TABLE)} ids")
    refused, failures = _abuse(calls, dataset)
    print(f"{calls:,} malformed calls: {refused:,} refused with a sentence that names the argument")
    for failure in failures[:10]:
        print(f"  not so: {failure}")
    if failures:
        raise SystemExit(f"{len(failures)} malformed calls were not refused as they should be")
    if moments:
        bench_faults.kills(moments)
        bench_faults.full(moments)
        bench_faults.odd()


def _walk(env_id: str, steps: int, dataset: str) -> tuple[int, float, int, float]:
    """Random actions, early answers and reset masks; memory is measured after the first tenth."""
    env: Any = gymnasium.make_vec(
        env_id,
        num_envs=ROWS,
        **with_dataset(env_id, dataset),
        early_answer=True,
        context=1 if glimpse_env.TABLE[env_id].scene in TEXTS else 12,
        reward="per_answer",
        step_cost=0.01,
    )
    rng = np.random.default_rng(0)
    answers, axes = env.single_action_space["answer"].n, env.single_action_space["gaze"].shape[0]
    pool = [
        {
            "gaze": rng.uniform(-1.1, 1.1, (ROWS, axes)).astype(np.float32),
            "answer": np.where(rng.random(ROWS) < 0.8, answers - 1, rng.integers(0, answers, ROWS)),
        }
        for _ in range(31)
    ]
    env.reset(seed=0)
    rounds = -(-steps // ROWS)
    episodes, before = 0, 0.0
    began = time.perf_counter()
    for i in tqdm(range(rounds), desc=env_id, unit_scale=ROWS, unit=" steps", leave=False):
        _, _, terminated, _, _ = env.step(pool[i % len(pool)])
        episodes += int(terminated.sum())
        if i % 97 == 96:
            env.reset(options={"reset_mask": rng.random(ROWS) < 0.5})
        if i == rounds // 10:
            before = _resident()
    rate = rounds * ROWS / (time.perf_counter() - began)
    grown = _resident() - before
    env.close()
    return rounds * ROWS, rate, episodes, grown


def _resident() -> float:
    """Megabytes of memory in use by this process."""
    with open("/proc/self/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


GOOD = {"gaze": np.zeros((CALL_ROWS, 2), np.float32), "answer": np.zeros(CALL_ROWS, np.int64)}
JUNK: list[Any] = [
    None, "x", -1, 1.5, float("nan"), float("inf"), 10**12, 10**30, [], [1], {}, object(), b"0", True,
    np.zeros(3), np.full((CALL_ROWS, 2), np.nan), np.full(CALL_ROWS, -1), np.full(CALL_ROWS, 99),
    np.zeros((CALL_ROWS, 2), complex), np.array("2020-01-01", "datetime64"), [[0, 0], [0]],
]  # fmt: skip
PLACES = ("gaze", "answer", "action", "seed", "options", "index", "reset_mask", "keyword")
KEYWORDS = (
    "canvas_size", "digits", "distractors", "distractor_size", "retina_size", "scales", "context", "horizon",
    "glimpses_per_answer", "early_answer", "reward", "step_cost", "relative_gaze", "start_gaze", "difficulty",
    "jitter", "distortion", "distortion_share", "max_episode_steps", "task", "scene", "split", "render_mode",
    "autoreset_mode", "dataset", "num_envs",
)  # fmt: skip


def _abuse(calls: int, dataset: str) -> tuple[int, list[str]]:
    """Make malformed calls; a good refusal is a ValueError or TypeError that names the argument."""
    rng = np.random.default_rng(1)
    env: Any = gymnasium.make_vec("Glimpse/MNIST-v0", num_envs=CALL_ROWS, dataset=dataset)
    alone: Any = gymnasium.make("Glimpse/MNIST-v0", dataset=dataset, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    alone.reset(seed=0)
    refused, failures = 0, []
    for _ in tqdm(range(calls), desc="malformed calls", leave=False):
        name, junk = "seed", None
        while _may_be_right(name, junk):  # draw again what is not malformed
            junk = JUNK[rng.integers(len(JUNK))]
            where = PLACES[rng.integers(len(PLACES))]
            name = KEYWORDS[rng.integers(len(KEYWORDS))] if where == "keyword" else where
        try:
            if where in GOOD:
                env.step({**GOOD, where: junk})
            elif where == "action":
                (env if rng.random() < 0.5 else alone).step(junk)
            elif where == "seed":
                (env if rng.random() < 0.5 else alone).reset(seed=junk)
            elif where == "options":
                (env if rng.random() < 0.5 else alone).reset(options=junk)
            elif where in ("index", "reset_mask"):
                env.reset(options={where: junk})
            else:
                keywords: dict[str, Any] = {"dataset": dataset, name: junk}
                GlimpseVectorEnv(**keywords)
            failures.append(f"{name}={junk!r} was accepted")
        except (ValueError, TypeError) as error:
            if name in str(error):
                refused += 1
            else:
                failures.append(f"{name}={junk!r}: {error}")
        except Exception as error:
            failures.append(f"{name}={junk!r}: {type(error).__name__}: {error}")
    return refused, failures


def _may_be_right(name: str, junk: Any) -> bool:
    """Values of JUNK that some argument takes: None for what is optional, numbers where numbers go."""
    if junk is None:
        optional = ("glimpses_per_answer", "max_episode_steps", "render_mode")
        return name in ("seed", "options", "index", "reset_mask", *optional)
    if isinstance(junk, dict):
        return name == "options"
    if junk is True:
        return name in ("early_answer", "relative_gaze")
    if isinstance(junk, int) and junk >= 10**12:
        return name in ("seed", "step_cost", "max_episode_steps", "num_envs")  # num_envs: for want of memory
    if isinstance(junk, np.ndarray) and junk.shape == (CALL_ROWS,):
        return name == "index" and bool((junk >= 0).all())
    return isinstance(junk, float) and junk == 1.5 and name == "step_cost"
