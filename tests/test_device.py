"""Every model on torch's `meta` device, where tensors have no numbers and mixing devices raises."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from agents import device
from agents.agent import SequenceSpec, Spec, device_of
from agents.cores import KINDS
from agents.experiments import EXPERIMENTS
from agents.models.captioner import CaptionerSettings
from agents.models.dram import DRAMSettings
from agents.models.draw import DRAW, DRAWClassifierSettings
from agents.models.edram import EDRAMSettings, SlimEDRAMSettings
from agents.models.ram import GivenGazeSettings, RAMSettings
from agents.models.reader import ReaderSettings
from agents.models.reading_agent import ReadingAgentSettings
from agents.models.seq2seq import Seq2SeqSettings
from agents.models.transformer import TransformerSettings

SPEC = Spec((2, 20, 20), (1, 60, 60), 10, context=(1, 25, 25), length=1, horizon=3)
TEXT = Spec((5,), (20,), 30, (), 3, 3, words=30, axes=1)
ASKED = Spec((5,), (20,), 30, (), 1, 3, words=40, axes=1, question=(20,))
MODELS = {
    f"{type(e.model).__name__}-{vars(e.model).get('policy')}": e.model
    for e in EXPERIMENTS.values()
    if not e.is_sequence
    and not vars(e.model).get("recurrent")  # SB3's recurrent policy asks whether episodes have begun
}


def spec_for(model: Any) -> Spec:
    if isinstance(model, ReaderSettings):
        return ASKED
    if isinstance(model, CaptionerSettings):  # which answers at every glimpse
        return SPEC._replace(length=3, horizon=3)
    return TEXT if type(model) in (Seq2SeqSettings, ReadingAgentSettings, TransformerSettings) else SPEC


def words(batch: int, on: str) -> dict[str, torch.Tensor]:
    shapes = {"retina": 5, "canvas": 20, "said": 1, "question": 20}
    seen = {key: torch.zeros(batch, n, dtype=torch.long, device=on) for key, n in shapes.items()}
    return {**seen, "gaze": torch.rand(batch, 1, device=on)}


def views(batch: int, on: str) -> dict[str, torch.Tensor]:
    shapes = {"gaze": (2,), "time": (1,)}
    shapes |= {key: getattr(SPEC, key) for key in ("retina", "canvas", "context")}
    said = torch.zeros(batch, 1, dtype=torch.long, device=on)
    return {"said": said, **{key: torch.rand(batch, *shape, device=on) for key, shape in shapes.items()}}


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("sample", [False, True])
def test_no_model_mixes_devices(name: str, sample: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Checks of SB3's distributions ask for numbers, which meta tensors have not.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    model = MODELS[name]
    if vars(model).get("tied") is False:
        model = dataclasses.replace(model, tied=True)
    spec = spec_for(model)
    agent: Any = model.build(spec).to("meta")
    assert device_of(agent).type == "meta"
    seen = words(4, "meta") if spec.words else views(4, "meta")
    if isinstance(agent, DRAW):
        for part in agent(seen["canvas"]):
            assert part.device.type == "meta"
        assert [stroke.canvas.device.type for stroke in agent.dream(2)] == ["meta"] * agent.steps
        return
    state = agent.initial(4)
    for _ in range(3):
        step, state = agent(seen, state, sample)
        for key, part in step._asdict().items():
            assert part is None or part.device.type == "meta", key


@pytest.mark.parametrize("core", KINDS)
@pytest.mark.parametrize(
    "settings",
    [RAMSettings, GivenGazeSettings, DRAMSettings, DRAWClassifierSettings, EDRAMSettings, SlimEDRAMSettings],
)
def test_any_core_fits_into_any_agent(settings: Any, core: str) -> None:
    agent = settings(core=core).build(SPEC).to("meta")
    seen, state = views(4, "meta"), agent.initial(4)
    for _ in range(3):
        step, state = agent(seen, state, True)
    assert step.logits.shape == (4, 10)


@pytest.mark.parametrize(
    "name", sorted({type(e.model).__name__ for e in EXPERIMENTS.values() if e.is_sequence})
)
def test_models_of_sequences_mix_no_devices(name: str) -> None:
    settings = next(e.model for e in EXPERIMENTS.values() if type(e.model).__name__ == name)
    model: Any = settings.build(SequenceSpec(5, 4, 6, symbols=True)).to("meta")
    symbols = torch.randint(5, (6, 3), device="meta")
    more = (torch.zeros(6, 3, device="meta"),) if name == "StopperSettings" else ()  # how many are left
    outputs, state = model(symbols, *more)
    assert outputs.shape[:2] == (6, 3)
    assert model(symbols, *more, state)[0].is_meta


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="sees no GPU"):
        device.choose("cuda")
    with pytest.raises(ValueError, match="got 'tpu'"):
        device.choose("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose("auto") == torch.device("cuda")


def test_seeding_leaves_the_generator_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    first = torch.rand(2)
    torch.manual_seed(3)
    gpus: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", gpus.append)
    with device.seeded(7):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), first)
    assert not torch.equal(inside, first)
    assert not gpus  # whose state would not be put back
