"""Speed, always as a ratio to a named reference measured in the same run.

`python scripts/bench.py env`: env steps a second of every id, whole steps with resets and random actions,
beside what the machine's memcpy would allow, Gymnasium's SyncVectorEnv over our single env, and ap_gym's
own vector env on images of MNIST's shape where it is installed (`pip install -e .[bench]`).
`python scripts/bench.py first`: seconds to the first step of each id, kernels compiled before or not.
`python scripts/bench.py train`: images a second of RAM's training, and where the time goes, beside RAM
written in the plain style of the common public code; and images a second of a training step of RAM, DRAM,
EDRAM and DRAW: as it is, without what was done for its speed, and of its products and convolutions alone.
`python scripts/bench.py race`: CPU minutes of RAM to 2 % and 1.5 % wrong on validation, beside the same
plain RAM with its own settings; an hour (`--dataset mnist`).
`python scripts/bench.py choices`: a training step with and without each thing that was done for its speed.
`python scripts/bench.py cores`: steps a second of every recurrent core beside torch's fused LSTM and RNN.
`python scripts/bench.py ranks`: images a second of RAM's training in two processes beside one.
`python scripts/bench.py sb3`: steps a second of our vector env through our SB3 adapter beside SB3's own
DummyVecEnv over our single env.
`python scripts/bench.py features`: our vector env with every keyword that costs something, and without.
`python scripts/bench.py memory`: the most memory that each id takes with 1,024 and 16,384 rows.
`python scripts/bench.py soak`: 10^8 random steps over all ids, 10^5 malformed calls, and all that follows.
`python scripts/bench.py kills`: a training, a sweep and a publish, each killed at 50 random moments.
`python scripts/bench.py full`: as `kills`, and films, on a disk that is often full; for root on Linux.
`python scripts/bench.py odd`: as `kills`, in locales without UTF-8, another time zone, a clock that jumps.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import terminal

import glimpse_env
from glimpse_env.data.files import DatasetError
from glimpse_env.registry import with_dataset
from glimpse_env.worlds.choose import TEXTS

BATCHES = (1, 16, 256, 1024, 4096, 16384)
SYNC_LIMIT = 256  # SyncVectorEnv's speed does not grow with the batch, its start-up does
REPEATS = 5
BENCHMARKS = {  # the module, imported where it is asked for, the function, and the options that it is given
    "env": ("", "bench_env", ("ids", "batches", "dataset")),
    "first": ("bench_first", "bench_first", ("ids", "dataset")),
    "train": ("bench_train", "bench_train", ("dataset",)),
    "race": ("bench_race", "bench_race", ("dataset",)),
    "choices": ("bench_choices", "bench_choices", ("dataset",)),
    "cores": ("bench_cores", "bench_cores", ()),
    "ranks": ("bench_ranks", "bench_ranks", ("dataset",)),
    "sb3": ("", "bench_sb3", ("ids", "dataset")),
    "features": ("", "bench_features", ("ids", "dataset")),
    "memory": ("bench_memory", "bench_memory", ("ids", "dataset")),
    "soak": ("bench_soak", "soak", ("steps", "calls", "moments", "dataset")),
    "kills": ("bench_faults", "kills", ("moments",)),
    "full": ("bench_faults", "full", ("moments",)),
    "odd": ("bench_faults", "odd", ()),
}


def main(arguments: list[str]) -> None:
    """Parse and run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=BENCHMARKS)
    parser.add_argument("--dataset", default="mnist-5k", help="which digits; mnist-5k needs no download")
    parser.add_argument("--ids", nargs="*", default=list(glimpse_env.TABLE), choices=glimpse_env.TABLE)
    parser.add_argument("--batches", nargs="*", type=int, default=list(BATCHES))
    parser.add_argument("--steps", type=int, default=10**8, help="how many random steps `soak` makes")
    parser.add_argument(
        "--moments",
        type=int,
        default=50,
        help="how often `kills` and `full` stop each; 0 leaves faults out of `soak`",
    )
    parser.add_argument("--calls", type=int, default=10**5, help="how many malformed calls `soak` makes")
    options = parser.parse_args(arguments)
    module, function, takes = BENCHMARKS[options.what]
    run = getattr(importlib.import_module(module), function) if module else globals()[function]
    run(*(getattr(options, name) for name in takes))


def bench_env(ids: list[str], batches: list[int], dataset: str) -> None:
    """Print a Markdown table, a line an id and batch."""
    print("| id | batch | steps/s | memcpy limit | SyncVectorEnv | ratio | ap_gym | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for env_id in ids:
        single = gymnasium.make(env_id, **with_dataset(env_id, dataset))
        print(f"| {env_id}, single | 1 | {single_speed(single):,.0f} | | | | | |", flush=True)
        for batch in batches:
            ours = vector_speed(native(env_id, batch, dataset), batch)
            sync = theirs = None
            if batch <= SYNC_LIMIT:
                made = gymnasium.make_vec(
                    env_id, num_envs=batch, vectorization_mode="sync", **with_dataset(env_id, dataset)
                )
                sync = vector_speed(made, batch)
                theirs = ap_gym_speed(batch) if env_id == "Glimpse/MNIST-v0" else None
            limit = memcpy_speed(env_id, batch, dataset)
            line = [env_id, str(batch), f"{ours:,.0f}", f"{limit:,.0f}"]
            for other in (sync, theirs):
                line += [f"{other:,.0f}", f"{ours / other:.1f}x"] if other else ["", ""]
            print("| " + " | ".join(line) + " |", flush=True)


def bench_features(ids: list[str], dataset: str) -> None:
    """Print a Markdown table: steps a second of each id as it is, with every feature, with training aids."""
    print("| id | batch | as it is | every feature on | ratio | and jitter and distortion | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    batch = 256
    aids = {"jitter": 1, "distortion": 0.1}
    for env_id in ids:
        text = glimpse_env.TABLE[env_id].scene in TEXTS
        features = {
            "context": 1 if text else glimpse_env.TABLE[env_id].canvas_size // 4, "early_answer": True,
            "step_cost": 0.01, "reward": "per_answer", "relative_gaze": True, "start_gaze": "random",
        }  # fmt: skip
        plain = vector_speed(native(env_id, batch, dataset), batch)
        cells = [f"{plain:,.0f}"]
        aided = [{**features, **aids}] if glimpse_env.TABLE[env_id].scene == "digits" else []
        for keywords in (features, *aided):
            env = native(env_id, batch, dataset, **keywords)
            rate = vector_speed(env, batch, look=env.single_action_space["answer"].n - 1)
            cells += [f"{rate:,.0f}", f"{rate / plain:.2f}x"]
        cells += ["–"] * (5 - len(cells))  # others have pictures of their own
        print(f"| {env_id} | {batch} | {' | '.join(cells)} |", flush=True)


def bench_sb3(ids: list[str], dataset: str) -> None:
    """Print a Markdown table: SB3 VecEnv steps a second, ours and SB3's own, without and with history."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from agents.learn.sb3 import GlimpseVecEnv
    from glimpse_env.wrappers import GlimpseHistory, GridAction

    def single(env_id: str, history: bool) -> Any:
        env: Any = gymnasium.make(env_id, **with_dataset(env_id, dataset), disable_env_checker=True)
        return GridAction(GlimpseHistory(env) if history else env)

    print("| id | batch | history | ours | DummyVecEnv | ratio |")
    print("|---|---:|---|---:|---:|---:|")
    for env_id in ids:
        for history in (False, True):
            batch = 64
            adapted = GlimpseVecEnv(env_id, batch, history=history, **with_dataset(env_id, dataset))
            dummy = DummyVecEnv([partial(single, env_id, history)] * batch)
            ours, theirs = (sb3_speed(env, batch) for env in (adapted, dummy))
            print(f"| {env_id} | {batch} | {history} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.1f}x |")


def sb3_speed(env: Any, batch: int) -> float:
    """Steps a second of an SB3 VecEnv with random actions."""
    env.action_space.seed(0)
    actions = [np.stack([env.action_space.sample() for _ in range(batch)]) for _ in range(24)]
    env.reset()
    return best_rate(lambda: [env.step(action) for action in actions], 24 * batch)


def native(env_id: str, batch: int, dataset: str, **keywords: Any) -> Any:
    """Our own vector env."""
    return gymnasium.make_vec(
        env_id,
        num_envs=batch,
        vectorization_mode="vector_entry_point",
        **with_dataset(env_id, dataset),
        **keywords,
    )


def best_rate(step: Callable[[], Any], units: int, seconds: float = 0.25) -> float:
    """Units a second: the median over REPEATS stretches of at least `seconds`, after a warm-up."""
    step()
    began = time.perf_counter()
    step()
    count = max(1, round(seconds / (time.perf_counter() - began)))
    rates = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(count):
            step()
        rates.append(count * units / (time.perf_counter() - began))
    return statistics.median(rates)


def vector_speed(env: Any, batch: int, look: int | None = None) -> float:
    """Env steps a second: a unit of work is 24 whole steps, three episodes or so, autoresets included.

    look: the answer that keeps looking, given in seven of eight steps, or episodes would end at once.
    """
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(24)]
    if look is not None:
        for i, action in enumerate(actions):
            action["answer"][(np.arange(batch) + i) % 8 > 0] = look
    env.reset(seed=0)

    def steps() -> None:
        for action in actions:
            env.step(action)

    rate = best_rate(steps, 24 * batch)
    env.close()
    return rate


def single_speed(env: gymnasium.Env[Any, Any]) -> float:
    """Env steps a second of one env as `gymnasium.make` gives it, resets included."""
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(24)]

    def steps() -> None:
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    env.reset(seed=0)
    return best_rate(steps, 24)


def memcpy_speed(env_id: str, batch: int, dataset: str) -> float:
    """Steps a second if a step did nothing but write its observation into fresh memory."""
    env = native(env_id, batch, dataset)
    observation, _ = env.reset(seed=0)
    env.close()
    return best_rate(lambda: [value.copy() for value in observation.values()], batch, 0.05)


def ap_gym_speed(batch: int) -> float | None:
    """Env steps a second of ap_gym's image classification on random images, None if it is not installed."""
    try:
        from ap_gym.envs.image import ImageClassificationDataset, ImagePerceptionConfig
        from ap_gym.envs.image_classification import ImageClassificationVectorEnv
    except ImportError:
        return None

    class RandomImages(ImageClassificationDataset):  # type: ignore[misc]  # untyped
        images = np.random.default_rng(0).integers(0, 256, (5000, 28, 28), dtype=np.uint8)

        def _get_num_classes(self) -> int:
            return 10

        def _get_num_channels(self) -> int:
            return 1

        def _get_length(self) -> int:
            return len(self.images)

        def _get_data_point_batch(self, idx: Any) -> Any:
            return self.images[idx], idx % 10

    env = ImageClassificationVectorEnv(batch, ImagePerceptionConfig(dataset=RandomImages()))
    return vector_speed(env, batch)


if __name__ == "__main__":
    terminal.run(main, (DatasetError, ValueError))
