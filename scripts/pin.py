"""Pin what must not change: `python scripts/pin.py` writes tests/pins.json.

It holds hashes of frozen scenes and of trajectories of every id, and of every published checkpoint the
number of wrong answers on the first 500 frozen test scenes and a hash of the answers. A test holds the
project to the file, but for the last hash, as another processor rounds otherwise; write it anew only when
an id, or a checkpoint, is meant to change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import terminal
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from agents.agent import to_tensors
from agents.experiments.experiment import load_agent
from agents.learn.captioning import Captioning
from agents.learn.checkpoint import CheckpointError
from agents.learn.envs import make_env, single_env
from agents.learn.evaluate import believed, scoring
from agents.learn.files import write
from agents.learn.generative import Generative, bound
from agents.learn.judging import judged, world_of
from agents.learn.language import in_windows
from agents.learn.sentences import TeacherForcing
from agents.learn.sequences import Characters
from agents.models.captioner import Captioner
from agents.models.char_lm import CharLM
from agents.report import results
from glimpse_env import TABLE
from glimpse_env.data.files import DatasetError
from glimpse_env.registry import with_dataset

PINS = Path(__file__).resolve().parents[1] / "tests" / "pins.json"
SPLITS = ("train", "validation", "test")
ROWS, STEPS, SCENES, PHOTOGRAPHS = 8, 50, 500, 16
AIDS: dict[str, dict[str, Any]] = {  # of training, by the kind of scene
    "digits": {"jitter": 1, "distortion": 0.1, "difficulty": 0.5},
    "houses": {"difficulty": 0.5},
}


def digest(*arrays: NDArray[Any]) -> str:
    """A short hash of the arrays' types, shapes and bytes."""
    hashed = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        hashed.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return hashed.hexdigest()[:16]


def scenes(env_id: str, dataset: str) -> dict[str, str]:
    """A hash a split of every seventh of the first 448 frozen scenes, and what is seen of them at first."""
    hashes = {}
    for split in SPLITS:
        env: Any = gymnasium.make_vec(
            env_id, 64, "vector_entry_point", split=split, **with_dataset(env_id, dataset)
        )
        observation, _ = env.reset(options={"index": 7 * np.arange(64)})
        seen = [observation[key] for key in sorted(observation)]
        hashes[split] = digest(*env.unwrapped.present_scenes(), *seen)
    return hashes


def trajectories(env_id: str, dataset: str) -> dict[str, str]:
    """A hash of 50 random steps of the single env, of eight rows, and of eight with training's aids."""
    own = with_dataset(env_id, dataset)
    aids = {"start_gaze": "random", **AIDS.get(TABLE[env_id].scene, {})}
    single: Any = gymnasium.make(env_id, **own)
    vector: Any = gymnasium.make_vec(env_id, ROWS, "vector_entry_point", **own)
    aided: Any = gymnasium.make_vec(env_id, ROWS, "vector_entry_point", **{**own, **aids})
    return {"single": play(single, None), "vector": play(vector, ROWS), "aided": play(aided, ROWS)}


def play(env: Any, rows: int | None) -> str:
    """The hash of everything that 50 random steps from seed 3 give."""
    rng = np.random.default_rng(11)
    shape = () if rows is None else (rows,)
    answers = env.unwrapped.vector.answer_names if rows is None else env.unwrapped.answer_names
    axes = env.observation_space["gaze"].shape[-1]
    observation, _ = env.reset(seed=3)
    seen = [observation[key] for key in sorted(observation)]
    for _ in range(STEPS):
        gaze = rng.uniform(-1.1, 1.1, (*shape, axes)).astype(np.float32)
        action = {"gaze": gaze, "answer": rng.integers(0, len(answers), shape)}
        observation, reward, terminated, truncated, _ = env.step(action)
        seen += [observation[key] for key in sorted(observation)]
        seen += [np.asarray(reward, np.float64), np.asarray(terminated), np.asarray(truncated)]
        if rows is None and terminated:
            env.reset()
    return digest(*seen)


def answers(path: Path) -> dict[str, Any]:
    """Of a checkpoint: wrong answers on the first 500 test scenes and the answers' hash, or DRAW's bound.

    Of a language model, nats in windows of validation text; of who says sentences or trees, BLEU or F1 there;
    of who sees photographs through a pretrained eye, which takes its time, nats on a few of them.
    """
    agent, experiment, _ = load_agent(path)
    if isinstance(agent, CharLM):
        text = Characters(**experiment.env)
        return {"bound": round(in_windows(agent, text, "validation").error, 3)}
    if isinstance(experiment.learner, Generative):
        scored = bound(
            agent, experiment.env_id, experiment.env, "test", experiment.learner.binary, scenes=SCENES
        )
        return {"bound": round(scored.error, 2)}
    world = world_of(experiment.task, "validation")
    if isinstance(agent, Captioner) and agent.cnn is None:
        made = make_env(agent, experiment.env_id, PHOTOGRAPHS, split="validation", **experiment.env)
        seen = to_tensors(made.reset(options={"index": np.arange(PHOTOGRAPHS)})[0])
        with scoring(agent, 0):
            return {"bound": round(float(Captioning().loss(agent, seen["canvas"], seen["target"])), 4)}
    if isinstance(experiment.learner, TeacherForcing) and world is not None:
        answers = experiment.learner.answers(agent, experiment.task, "validation", beams=1)
        return {"bound": round(judged(world, answers).error, 2)}
    there = single_env(experiment.env_id, experiment.env, split="test").vector.num_scenes
    env = make_env(agent, experiment.env_id, min(SCENES, there), split="test", **experiment.env)
    index = {"index": np.arange(env.num_envs)}
    with scoring(agent, 0):
        said = believed(agent, env, index).argmax(-1).numpy()
    target = env.reset(options=index)[0]["target"]
    wrong = (said != target) & (target >= 0)
    # What is said after a first wrong answer, or after the end, counts for nothing.
    until = wrong.cumsum(1) - wrong == 0
    heard = np.where(until & (target >= 0), said, -1)
    return {"wrong": int(wrong.any(1).sum()), "answers": digest(heard)}


def main(arguments: list[str]) -> None:
    """Compute everything and write it."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    torch.set_num_threads(1)
    pins: dict[str, Any] = {"scenes": {}, "trajectories": {}, "checkpoints": {}}
    for env_id in tqdm(TABLE):
        pins["scenes"][env_id] = scenes(env_id, "mnist-5k")
        pins["trajectories"][env_id] = trajectories(env_id, "mnist-5k")
    for env_id in ("Glimpse/DigitPair-v0", "Glimpse/HouseNumbers-v0", "Glimpse/ClutteredMNIST-v0"):
        pins["scenes"][f"{env_id} mnist"] = scenes(env_id, "mnist")
    pins["scenes"]["Glimpse/CIFAR10-v0 cifar10-jpeg"] = scenes("Glimpse/CIFAR10-v0", "cifar10-jpeg")
    for path in tqdm(sorted(results.PRETRAINED.glob("*.safetensors"))):
        pins["checkpoints"][path.stem] = answers(path)
    write(PINS, json.dumps(pins, indent=1) + "\n")


if __name__ == "__main__":
    terminal.run(main, (CheckpointError, DatasetError))
