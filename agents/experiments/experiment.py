"""What an experiment is: an environment, a model, a learner and a loop, and what it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import tyro

from agents import checks
from agents.agent import SequenceSpec, Spec
from agents.device import seeded
from agents.learn import checkpoint
from agents.learn.captioning import Captioning, HardCaptioning, SelfCritical
from agents.learn.differentiable import Comprehension, CrossEntropy, Windows
from agents.learn.envs import EnvKeywords, check_keywords, spec_of
from agents.learn.fixations import HybridSequential
from agents.learn.generative import Generative
from agents.learn.language import NextStep
from agents.learn.loop import Loop, Task
from agents.learn.ppo import PPOLearner, PPOLoop
from agents.learn.reading import Reading
from agents.learn.recall import Recall
from agents.learn.reinforce import GivenGaze, Reinforce
from agents.learn.run import Run
from agents.learn.sentences import HardLooks, TeacherForcing
from agents.learn.sequences import SEQUENCES, make_sequences
from agents.learn.stopping import WhenToStop
from agents.models.captioner import CaptionerSettings
from agents.models.char_lm import CharLMSettings
from agents.models.dram import DRAMSettings
from agents.models.draw import DRAWClassifierSettings, DRAWSettings
from agents.models.edram import EDRAMSettings, SlimEDRAMSettings
from agents.models.fixation_rbm import FixationRBMSettings
from agents.models.gaze_captioner import GazeCaptionerSettings
from agents.models.ram import GivenGazeSettings, RAMSettings
from agents.models.raster import RasterSettings
from agents.models.reader import ReaderSettings
from agents.models.reading_agent import ReadingAgentSettings
from agents.models.sb3_policy import SB3PolicySettings
from agents.models.seq2seq import Seq2SeqSettings
from agents.models.sequence import SequenceSettings
from agents.models.stn import SpatialTransformerSettings
from agents.models.stopper import StopperSettings
from agents.models.transformer import TransformerSettings
from agents.models.whole_canvas import CNNSettings, WholeCanvasSettings
from glimpse_env.data.files import DatasetError

ModelSettings = (
    RAMSettings
    | GivenGazeSettings
    | DRAMSettings
    | WholeCanvasSettings
    | CNNSettings
    | DRAWClassifierSettings
    | DRAWSettings
    | SpatialTransformerSettings
    | EDRAMSettings
    | SlimEDRAMSettings
    | SB3PolicySettings
    | SequenceSettings
    | CharLMSettings
    | StopperSettings
    | Seq2SeqSettings
    | ReadingAgentSettings
    | TransformerSettings
    | ReaderSettings
    | RasterSettings
    | CaptionerSettings
    | GazeCaptionerSettings
    | FixationRBMSettings
)
AnyLearner = (
    Reinforce
    | GivenGaze
    | Windows
    | CrossEntropy
    | Comprehension
    | Generative
    | PPOLearner
    | Recall
    | NextStep
    | WhenToStop
    | TeacherForcing
    | HardLooks
    | Reading
    | Captioning
    | HardCaptioning
    | SelfCritical
    | HybridSequential
)
AnyLoop = Loop | PPOLoop
OF_TEXTS = (Seq2SeqSettings, ReadingAgentSettings, TransformerSettings, ReaderSettings)
OF_BOTH = (RAMSettings, GivenGazeSettings, SB3PolicySettings)  # texts and pictures
MOST_SEEDS = 2**32  # so that an environment's own, a million times as large, fit into 64 bits
KINDS: dict[str, type] = {
    kind.__name__: kind for union in (ModelSettings, AnyLearner, AnyLoop) for kind in get_args(union)
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An environment, a model, a learner and a loop, composed."""

    env_id: str
    """The id of the environment, or the name of sequences without one (agents/learn/sequences.py)."""
    model: ModelSettings
    """What the model is built from."""
    learner: AnyLearner
    """How the model is taught."""
    loop: Annotated[AnyLoop, tyro.conf.arg(name="")]
    """How long and how fast it is taught."""
    env: EnvKeywords = dataclasses.field(default_factory=dict)
    """Keywords of the environment beyond the id's own, which docs/keywords.md explains; those that are given
    join or replace the experiment's."""
    init: str = ""
    """What to start from: a published experiment (of the same seed), a run's folder or a checkpoint. Only the
    classifier may have other shapes, and then begins anew."""
    seed: int = 1
    """The seed of the weights and of all training."""
    paper: tyro.conf.Suppress[float | None] = None
    """The paper's figure on the same task, an error in percent or nats."""
    best_public: tyro.conf.Suppress[float | None] = None
    """What the best public code states of itself."""
    group: tyro.conf.Suppress[str] = ""
    """The module of agents/experiments that it is in."""

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        if not isinstance(self.model, self.learner.TEACHES):
            able = " or ".join(kind.__name__ for kind in self.learner.TEACHES)
            raise ValueError(f"{type(self.learner).__name__} teaches {able}, not {type(self.model).__name__}")
        self.learner.check(self.model)
        if isinstance(self.loop, PPOLoop) != isinstance(self.learner, PPOLearner):
            raise ValueError(f"{type(self.learner).__name__} does not learn by a {type(self.loop).__name__}")
        on = self.learner.SEQUENCES
        if self.env_id not in on if on else self.is_sequence:
            able = f": choose one of {', '.join(on)}" if on else ""
            raise ValueError(f"{type(self.learner).__name__} does not teach on {self.env_id!r}{able}")
        if not self.is_sequence:
            check_keywords(self.env)
        if not 0 <= self.seed < MOST_SEEDS:
            raise ValueError(f"seed must be from 0 to {MOST_SEEDS - 1}, got {self.seed}")
        if self.env.get("context") and not isinstance(self.model, DRAMSettings):
            raise ValueError(
                f"{type(self.model).__name__} builds an agent that sees no context: leave out env context"
            )

    def but(self, **changes: Any) -> Experiment:
        """The same experiment with other fields; a dict for model, learner or loop changes that part's."""
        parts = {
            key: dataclasses.replace(getattr(self, key), **changes[key])
            for key in ("model", "learner", "loop")
            if isinstance(changes.get(key), dict)
        }
        return dataclasses.replace(self, **{**changes, **parts})

    @property
    def is_sequence(self) -> bool:
        """Whether it learns on sequences without an environment."""
        return self.env_id in SEQUENCES

    def spec(self) -> Spec | SequenceSpec:
        """What its agent or model must fit."""
        if self.is_sequence:
            return make_sequences(self.env_id, self.env).spec
        return spec_of(self.env_id, self.env)

    def build(self, spec: Spec | SequenceSpec) -> Any:
        """Its agent or model with fresh weights drawn from its seed."""
        if isinstance(spec, Spec):
            made_for = "both" if isinstance(self.model, OF_BOTH) else "texts"
            if not isinstance(self.model, OF_BOTH + OF_TEXTS):
                made_for = "pictures"
            seen = "a text" if spec.words else "a picture"
            if made_for == ("pictures" if spec.words else "texts"):
                raise ValueError(
                    f"{type(self.model).__name__} builds an agent for {made_for}, and {self.env_id} is {seen}"
                )
            if spec.words and getattr(self.learner, "curriculum", 0):
                raise ValueError(f"curriculum is of pictures, and {self.env_id} is a text: set it to 0")
            if spec.question and not isinstance(self.model, ReaderSettings | ReadingAgentSettings):
                raise ValueError(
                    f"{type(self.model).__name__} builds an agent that hears no question, and {self.env_id} "
                    "asks one"
                )
        build: Any = self.model.build  # whose spec is of one kind, as __post_init__ has seen
        with seeded(self.seed):
            try:
                return build(spec)
            except RuntimeError as error:
                if "allocate" not in str(error):
                    raise
                raise ValueError(
                    f"{type(self.model).__name__} does not fit into memory: choose smaller settings"
                ) from None

    @property
    def task(self) -> Task:
        """Where its agent learns."""
        return Task(self.env_id, self.env, self.loop, self.seed)

    def train(self, run: Run, agent: Any, *, quiet: bool = False) -> Iterator[dict[str, Any]]:
        """Train `agent` and yield each epoch's metrics."""
        return self.learner.train(run, agent, self.task, quiet=quiet)

    def same_recipe(self, other: Experiment) -> bool:
        """Whether another experiment trains the same thing, whatever its seed."""
        return to_config("", self, None) == to_config("", dataclasses.replace(other, seed=self.seed), None)


def to_config(name: str, experiment: Experiment, spec: Spec | SequenceSpec | None) -> dict[str, Any]:
    """The JSON-serialisable record of an experiment that its run folder and checkpoints carry."""

    def record(settings: Any) -> dict[str, Any]:
        return {"kind": type(settings).__name__, **dataclasses.asdict(settings)}

    config: dict[str, Any] = {
        "experiment": name,
        "env_id": experiment.env_id,
        "env": dict(experiment.env),
        "model": record(experiment.model),
        "learner": record(experiment.learner),
        "loop": record(experiment.loop),
        "init": experiment.init,
        "seed": experiment.seed,
    }
    if spec is not None:
        config["spec"] = {
            key: list(value) if isinstance(value, tuple) else value for key, value in spec._asdict().items()
        }
    return config


def from_config(config: dict[str, Any]) -> tuple[Experiment, Spec | SequenceSpec]:
    """Undo `to_config`; KeyError, TypeError or ValueError for what is no such record."""

    def build(record: dict[str, Any]) -> Any:
        return KINDS[record["kind"]](**{key: value for key, value in record.items() if key != "kind"})

    if type(config["experiment"]) is not str or type(config["seed"]) is not int:
        raise TypeError("experiment is a name, and seed an integer")
    if not all(checks.finite(config.get(key, 0)) for key in ("training_minutes", "init_minutes")):
        raise TypeError("minutes are finite numbers")
    experiment = Experiment(
        env_id=config["env_id"],
        env=config["env"],
        model=build(config["model"]),
        learner=build(config["learner"]),
        loop=build(config["loop"]),
        init=config["init"],
        seed=config["seed"],
    )
    shapes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["spec"].items()}
    for name, shape in shapes.items():
        sides = shape if isinstance(shape, tuple) else (shape,)
        if not all(isinstance(side, str) or (isinstance(side, int) and side >= 0) for side in sides):
            raise ValueError(f"spec.{name} is {shape!r}")
    spec = (SequenceSpec if experiment.is_sequence else Spec)(**shapes)
    if isinstance(spec, SequenceSpec):
        known = spec.alphabet
        if not isinstance(known, str) or (known and not len(set(known)) == len(known) == spec.outputs):
            raise ValueError(f"spec.alphabet is {known!r}")
        if not isinstance(spec.symbols, bool):
            raise ValueError(f"spec.symbols is {spec.symbols!r}")
    return experiment, spec


def _foreign(path: Path, error: Exception) -> checkpoint.CheckpointError:
    return checkpoint.CheckpointError(
        f"{path} was made by another version of this project, or not by scripts/train.py ({error!r}): "
        "retrain it with that."
    )


def load_agent(path: Path, device: torch.device | str = "cpu") -> tuple[Any, Experiment, dict[str, Any]]:
    """The agent of a checkpoint, its experiment and the rest of its config; CheckpointError if damaged."""
    tensors, config = checkpoint.load(path)
    try:
        experiment, spec = from_config(config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _foreign(path, error) from None
    if any(name.startswith("optimizer.") for name in tensors):
        raise checkpoint.CheckpointError(f"{path} is what a run goes on from: name the run's folder.")
    try:
        agent = experiment.build(spec)
    except DatasetError:  # which says what is wrong
        raise
    except Exception as error:  # of settings of another kind than theirs torch raises anything
        raise _foreign(path, error) from None
    checkpoint.load_weights(agent, tensors, path)
    if not all(weight.isfinite().all() for weight in agent.parameters()):
        raise checkpoint.CheckpointError(
            f"{path} has weights that are not finite: restore it, or train anew with a lower learning_rate."
        )
    agent.eval()
    return agent.to(device), experiment, config


def spec_in(config: dict[str, Any]) -> Spec:
    """What the agent of a checkpoint's config was made for; ValueError for a model of sequences."""
    experiment, spec = from_config(config)
    if isinstance(spec, SequenceSpec):
        raise ValueError(f"{config['experiment']} reads {experiment.env_id!r} and acts in no environment")
    return spec
