"""Sequences without an environment: what they ask, that frozen ones stay, bad texts, models and learners."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import needs_data, needs_full_mnist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from agents.agent import SequenceSpec
from agents.experiments import Experiment
from agents.learn import language, sequences
from agents.learn.language import NextStep, carried, in_windows, influence
from agents.learn.loop import Loop, Task
from agents.learn.recall import Recall, error_of, errors, evaluate, with_omega
from agents.learn.run import Run
from agents.learn.sequences import Characters, Copying, Digits, Drawn, encode, make_sequences
from agents.models.char_lm import CharLM, CharLMSettings, locked_dropout
from agents.models.sequence import SequenceModel, SequenceSettings
from glimpse_env.data import texts
from glimpse_env.data.files import DatasetError
from glimpse_env.data.images import load


@settings(deadline=None)
@given(length=st.integers(2, 40), seed=st.integers(0, 2**32 - 1))
def test_the_sum_is_of_one_marked_number_of_each_half(length: int, seed: int) -> None:
    made = make_sequences("adding", {"length": length})
    x, target = made.draw(np.random.default_rng(seed), 7)
    assert x.shape == (length, 7, 2)
    assert ((x[..., 0] >= 0) & (x[..., 0] < 1)).all()
    assert (x[: length // 2, :, 1].sum(0) == 1).all()
    assert (x[length // 2 :, :, 1].sum(0) == 1).all()
    torch.testing.assert_close(target[0], (x[..., 0] * x[..., 1]).sum(0))


def test_saying_one_costs_a_sixth() -> None:
    made = make_sequences("adding", {"length": 50})
    assert made.spec == SequenceSpec(2, 1, 50)
    target = torch.cat([made.block("test", n).target[0] for n in range(10)])
    assert len(target) == made.frozen("test") == 10_000
    assert (target - 1).square().mean().item() == pytest.approx(1 / 6, abs=0.005)


@settings(deadline=None)
@given(length=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_what_was_shown_is_asked_after_the_sign(length: int, seed: int) -> None:
    x, target = make_sequences("copying", {"length": length}).draw(np.random.default_rng(seed), 5)
    assert x.shape == target.shape == (length + 20, 5)
    assert torch.equal(x[:10], target[-10:])
    assert (x[:10] < 8).all()
    assert (x[10:-11] == Copying.BLANK).all()
    assert (x[-11] == Copying.SIGN).all()
    assert (x[-10:] == Copying.BLANK).all()
    assert (target[:-10] == Copying.BLANK).all()


def test_knowing_only_when_to_speak_costs_what_the_literature_says() -> None:
    _, target = make_sequences("copying", {"length": 100}).block("test", 0)
    scores = torch.full((120, 1000, 9), -1e9)
    scores[:-10, :, Copying.BLANK] = 0
    scores[-10:, :, :8] = 0
    assert errors(scores, target).mean().item() == pytest.approx(10 * math.log(8) / 120)


@pytest.mark.parametrize(("name", "steps"), [("rows", 28), ("pixels", 784), ("permuted", 784)])
def test_digits_are_read_in_order(name: str, steps: int) -> None:
    made = make_sequences(name, {"dataset": "mnist-5k"})
    assert made.spec == SequenceSpec(784 // steps, 10, steps)
    x, target = made.block("test", 0)
    of = load("mnist-5k", "test")
    assert made.frozen("test") == len(of.labels) == 1000
    assert torch.equal(target[0], torch.tensor(of.labels))
    pixels = x.transpose(0, 1).reshape(1000, 784).numpy()
    wanted = of.images.reshape(1000, 784) / np.float32(255)
    if name == "permuted":
        assert not np.array_equal(pixels, wanted)
        assert sorted(made.order.tolist()) == list(range(784))
        pixels = pixels[:, np.argsort(made.order)]
    np.testing.assert_allclose(pixels, wanted, rtol=1e-6)


def test_the_permutation_is_always_the_same() -> None:
    # Literal numbers, so that figures of different times can be compared.
    made = make_sequences("permuted", {"dataset": "mnist-5k"})
    assert isinstance(made, Digits)
    assert made.order[:5].tolist() == [283, 28, 288, 783, 276]


@needs_full_mnist
def test_the_last_block_is_as_long_as_what_is_left() -> None:
    made = make_sequences("rows", {})
    assert made.frozen("validation") == 5000
    assert made.block("validation", 4).inputs.shape == (28, 1000, 28)


@pytest.mark.parametrize("name", ["adding", "copying"])
def test_frozen_sequences_stay(name: str) -> None:
    one, other = (make_sequences(name, {"length": 30}) for _ in range(2))
    assert isinstance(one, Drawn)
    assert torch.equal(one.block("test", 3).inputs, other.block("test", 3).inputs)
    assert not torch.equal(one.block("test", 3).inputs, one.block("test", 2).inputs)
    assert not torch.equal(one.block("test", 0).inputs, one.block("validation", 0).inputs)


# -- texts --------------------------------------------------------------------------------------------------


def test_a_text_is_cut_into_contiguous_parts_whose_last_tenth_is_the_test(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("äbc" * 1000, encoding="utf-8")
    train, validation, test = (texts.load(f"file:{path}", split) for split in ("train", "validation", "test"))
    assert validation + train + test == "äbc" * 1000
    assert (len(train), len(validation), len(test)) == (2640, 60, 300)


def test_the_offline_text_is_long_and_english() -> None:
    whole = "".join(texts.load("python-docs", split) for split in ("validation", "train", "test"))
    assert len(whole) > 200_000
    words = whole.lower().split()
    assert words.count("the") > 0.04 * len(words)
    Characters()  # and no part has a character that training has not


def test_a_split_without_frozen_sequences_is_refused() -> None:
    with pytest.raises(ValueError, match="the train split has no frozen sequences"):
        make_sequences("copying", {"length": 100}).blocks("train")


@needs_data("tinyshakespeare")
def test_tiny_shakespeare_is_found() -> None:
    validation, test = (texts.load("tiny-shakespeare", split) for split in ("validation", "test"))
    assert validation.startswith("First Citizen:\nBefore we proceed any further")
    assert test.startswith("\n\nGREMIO:\nGood morrow, neighbour Baptista.")  # nanoGPT's has one letter more
    assert len(Characters("tiny-shakespeare").spec.alphabet) == 65


def test_influence_is_the_norm_of_each_characters_jacobian(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abcd" * 2000, encoding="utf-8")
    torch.manual_seed(0)
    model = CharLM(Characters(f"file:{path}").spec, CharLMSettings(hidden=8, embedding=4)).double().eval()
    text = "abca"

    def last(xs: torch.Tensor) -> torch.Tensor:
        return model.reader(xs[:, None], None)[0][-1, 0]

    xs = model.embedding(encode(text, model.spec.alphabet, "the text")).detach()
    jacobian = torch.autograd.functional.jacobian(last, xs)  # (hidden, T, embedding)
    norm = jacobian.square().sum((0, 2)).sqrt()
    found = influence(model, text, projections=4000)
    torch.testing.assert_close(found.double(), norm / norm.max(), rtol=0.05, atol=0)


def test_bad_texts_are_named(tmp_path: Path) -> None:
    def write(data: bytes) -> str:
        path = tmp_path / f"{len(data)}.txt"
        path.write_bytes(data)
        return f"file:{path}"

    for name, says in (
        ("tiny-shakspeare", "did you mean 'tiny-shakespeare'"),
        ("file:", "use one of"),
        (f"file:{tmp_path}/no.txt", "there is no text at"),
        (write(b""), "is empty"),
        (write(b"ab\xff"), r"is not UTF-8 \(byte 2\)"),
        (write(b"abc" * 100), "6 characters, and more than 64 are needed"),
        (write(b"abc" * 4000 + b"z"), "the test part of .* has 'z', which no training text had"),
    ):
        with pytest.raises((ValueError, DatasetError), match=says):
            Characters(name)
    with pytest.raises(DatasetError, match="the prompt has '\u00df'"):
        encode("Straße", "Strase", "the prompt")


def text_of(tmp_path: Path, text: str) -> Characters:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    return Characters(f"file:{tmp_path / 'text.txt'}", length=5)


def test_streams_are_the_text_in_columns(tmp_path: Path) -> None:
    made = text_of(tmp_path, "".join(chr(97 + i % 26) for i in range(20_000)))
    streams = made.streams(np.random.default_rng(0), 8)
    assert streams.shape == (17_600 // 8, 8)
    steps = (streams[1:] - streams[:-1]) % 26
    # Each column goes on as the alphabet does, but where the text's end meets its beginning.
    assert (steps != 1).sum() <= 1
    x, y = made.draw(np.random.default_rng(0), 3)
    assert torch.equal((x + 1) % 26, y)


def test_windows_are_scored_as_a_plain_loop_would_and_a_carried_state_as_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "CHUNK", 300)  # several of either to this text
    monkeypatch.setattr(sequences, "BLOCK", 2)
    rng = np.random.default_rng(0)
    made = text_of(tmp_path, "".join(rng.choice(list("abcd"), 8000)))
    model = CharLM(made.spec, CharLMSettings(hidden=8, embedding=4))
    symbols = made.text["test"]
    model.eval()
    whole, _ = model(symbols[:-1, None])
    wanted = F.cross_entropy(whole[:, 0], symbols[1:]).item()
    figure = carried(model, made, "test")
    assert figure.error == pytest.approx(wanted, rel=1e-5)
    assert figure.scenes == len(symbols) - 1
    nats = []
    for first in range(0, len(symbols) - 1 - 256, 256):
        scores, _ = model(symbols[first : first + 256, None])
        nats.append(F.cross_entropy(scores[:, 0], symbols[first + 1 : first + 257]).item())
    in_three = in_windows(model, made, "test")
    assert in_three.scenes == len(nats) == 3
    assert in_three.error == pytest.approx(np.mean(nats), rel=1e-5)
    assert in_three.ci95[0] < in_three.error < in_three.ci95[1]


def test_neighbours_are_taken_together_for_an_interval() -> None:
    """Of 1 3, 2 4 and 9 11 the means are 2, 3 and 10, whose standard deviation is the root of 19."""
    found = language.with_interval_of_blocks(torch.tensor([1.0, 3, 2, 4, 9, 11]), 2)
    half = 1.96 * math.sqrt(19) / math.sqrt(3)
    assert found.ci95 == pytest.approx((5 - half, 5 + half), rel=1e-5)
    # What is left over is of no block, but of the mean; and there are two blocks or more.
    longer = language.with_interval_of_blocks(torch.tensor([1.0, 3, 2, 4, 9, 11, 5]), 2)
    assert longer.ci95 == pytest.approx((5 - half, 5 + half), rel=1e-5)
    few = language.with_interval_of_blocks(torch.tensor([1.0, 3, 2, 4]), 100)
    assert few.ci95 == pytest.approx((2.5 - 1.96 / 2, 2.5 + 1.96 / 2), rel=1e-5)  # of 2 and 3


# -- models and learners ------------------------------------------------------------------------------------


def test_a_stretch_begins_with_the_state_that_the_last_one_left(tmp_path: Path) -> None:
    made = text_of(tmp_path, "".join(np.random.default_rng(0).choice(list("abcd"), 6000)))
    model = CharLM(made.spec, CharLMSettings(hidden=8, embedding=4, input_dropout=0, output_dropout=0))
    loop = Loop(batch_size=3)
    lesson = NextStep().lesson(model, Task("characters", {"dataset": made.dataset, "length": 5}, loop, 1))
    streams = made.streams(np.random.default_rng(7), 3)
    state = None
    for place in (0, 5, 10):
        seeds = [7, 8, 9] if place == 0 else None
        scores, state = model(streams[place : place + 5], state)
        wanted = F.cross_entropy(scores.flatten(0, 1), streams[place + 1 : place + 6].flatten())
        torch.testing.assert_close(lesson.batch(seeds, 0.0).loss, wanted)
    # An epoch begins without a state.
    scores, _ = model(streams[:5])
    wanted = F.cross_entropy(scores.flatten(0, 1), streams[1:6].flatten())
    torch.testing.assert_close(lesson.batch([7, 8, 9], 0.0).loss, wanted)


def test_streams_begin_anew_before_they_end(tmp_path: Path) -> None:
    made = text_of(tmp_path, "".join(chr(97 + i % 26) for i in range(6000)))
    streams = language.Streams(made)
    places = []
    for number in range(200):
        steps, target, state = streams.batch([3] if number == 0 else None, 8)
        assert steps.shape == target.shape == (5, 8)
        assert state is None
        places.append(streams.place)
    # 5,280 characters to learn from are 660 a stream: 131 stretches of 5, each followed by one more.
    assert places == [5 * i for i in (*range(1, 132), *range(1, 70))]


def test_omega_of_a_model_is_that_of_its_errors_and_jacobians() -> None:
    """Step by step: the loss as a function of each state, and the step's own Jacobian."""
    made = make_sequences("adding", {"length": 4})
    batch = made.draw(np.random.default_rng(0), 2)
    model = SequenceModel(made.spec, "elman", 3)
    loss, regulariser = with_omega(model, batch)
    torch.testing.assert_close(loss, error_of(model, batch).mean())

    def rest(h: torch.Tensor, t: int) -> torch.Tensor:
        """The loss from the state after step t on."""
        for x in batch.inputs[t + 1 :]:
            h, _ = model.core(x, h)
        return (model.head(h)[:, 0] - batch.target[0]).square().mean()

    states, h = [], None
    for x in batch.inputs:
        h, _ = model.core(x, h)
        states.append(h.detach())
    total = 0.0
    for t in range(1, 4):
        error = torch.autograd.functional.jacobian(lambda s, t=t: rest(s, t), states[t])
        for b in range(2):
            x = batch.inputs[t, b : b + 1]
            step = torch.autograd.functional.jacobian(
                lambda s, x=x: model.core(x, s[None])[0][0], states[t - 1][b]
            )
            total += ((error[b] @ step).norm() / error[b].norm() - 1) ** 2 / 2
    torch.testing.assert_close(regulariser, total, rtol=1e-4, atol=1e-6)


def test_a_model_is_not_scored_on_another_alphabet(tmp_path: Path) -> None:
    made = text_of(tmp_path, "abcd" * 2000)
    model = CharLM(made.spec, CharLMSettings(hidden=4, embedding=2))
    (tmp_path / "other.txt").write_text("ABCD" * 2000, encoding="utf-8")
    task = Task("characters", {"dataset": f"file:{tmp_path / 'other.txt'}"}, Loop(), 1)
    with pytest.raises(ValueError, match="another alphabet"):
        NextStep().figures(model, task, "test")


def test_locked_dropout_drops_the_same_units_at_all_steps() -> None:
    torch.manual_seed(0)
    dropped = locked_dropout(torch.ones(50, 3, 400), 0.25, training=True)
    assert torch.equal(dropped[0], dropped[-1])
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert not torch.equal(dropped[0, 0], dropped[0, 1])
    assert locked_dropout(torch.ones(2, 2, 2), 0.5, training=False).eq(1).all()


def test_weight_dropout_needs_one_recurrent_matrix_and_changes_training_alone() -> None:
    spec = SequenceSpec(7, 7, 4, symbols=True)
    model = CharLM(spec, CharLMSettings(hidden=16, weight_dropout=0.5, input_dropout=0, output_dropout=0))
    before = model.reader.core.recurrent.weight.clone()
    symbols = torch.randint(7, (6, 2))
    one, other = model(symbols)[0], model(symbols)[0]
    assert not torch.allclose(one, other)
    model.eval()
    none = CharLMSettings(hidden=16, weight_dropout=0.0, input_dropout=0, output_dropout=0)
    plain = none.build(spec).eval()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(symbols)[0], plain(symbols)[0])
    assert torch.equal(model.reader.core.recurrent.weight, before)
    with pytest.raises(ValueError, match="core 'stacked' has not one matrix"):
        CharLMSettings(core="stacked", weight_dropout=0.5).build(spec)


def train(tmp_path: Path, experiment: Experiment) -> tuple[Any, list[dict[str, Any]]]:
    spec = experiment.spec()
    model = experiment.build(spec)
    run = Run(
        tmp_path / "run", json.loads(json.dumps(config_of(experiment, spec))), resume=False, overwrite=True
    )
    lines = list(experiment.train(run, model, quiet=True))
    run.close()
    return model, lines


def config_of(experiment: Experiment, spec: Any) -> dict[str, Any]:
    from agents.experiments.experiment import to_config

    return to_config("tiny", experiment, spec)


@pytest.mark.parametrize("omega_weight", [0.0, 0.1])
def test_short_sums_are_learned(tmp_path: Path, omega_weight: float) -> None:
    experiment = Experiment(
        "adding",
        SequenceSettings("elman", 32),
        Recall(omega_weight),
        Loop(epochs=2, images_per_epoch=6400, batch_size=32, learning_rate=1e-2, clip=1.0),
        env={"length": 6},
    )
    torch.set_num_threads(1)
    _, lines = train(tmp_path, experiment)
    assert lines[-1]["validation_squared_error"] < 0.05 < 1 / 6
    assert ("omega" in lines[-1]) == (omega_weight > 0)
    assert lines[-1]["sequences_per_second"] > 0


def test_a_text_that_repeats_is_learned_over_the_ends_of_its_stretches(tmp_path: Path) -> None:
    # Which of b and c follows a is told six characters before, as often as not in the last stretch.
    text = "".join(np.random.default_rng(0).choice(["b.....ab", "c.....ac"], 1500))
    made = text_of(tmp_path, text)
    experiment = Experiment(
        "characters",
        CharLMSettings(hidden=32, embedding=8, input_dropout=0, output_dropout=0),
        NextStep(),
        Loop(epochs=8, images_per_epoch=2100, batch_size=16, learning_rate=2e-2, clip=1.0, average=0.9),
        env={"dataset": made.dataset, "length": 12},
    )
    torch.set_num_threads(1)
    model, lines = train(tmp_path, experiment)
    # One of two at one character of eight is chance; whether b or c follows a is none.
    assert lines[-1]["validation_nats"] < 1.3 * math.log(2) / 8
    assert carried(model, Characters(made.dataset), "test").error < 1.3 * math.log(2) / 8


def test_the_error_of_who_is_half_too_high() -> None:
    made = make_sequences("adding", {"length": 4})

    class Adder(SequenceModel):
        def forward(self, inputs: torch.Tensor, state: Any = None, last: int = 0) -> Any:
            return (inputs[..., 0] * inputs[..., 1]).sum(0)[None, :, None] + 0.5, None

    figure = evaluate(Adder(made.spec), made, "validation")
    assert figure.error == pytest.approx(0.25, rel=1e-4)
    assert figure.scenes == 1000


def test_an_irnn_begins_as_wide_as_it_is_told() -> None:
    spec = make_sequences("adding", {"length": 4}).spec
    torch.manual_seed(0)
    core: Any = SequenceSettings("irnn", 2000, irnn_std=0.01).build(spec).core
    assert core.glimpse.weight.std().item() == pytest.approx(0.01, rel=0.05)
    torch.testing.assert_close(core.recurrent.weight, torch.eye(2000))


def test_settings_that_do_not_fit_are_named() -> None:
    loop = Loop(epochs=1)
    for make, says in (
        (lambda: Experiment("adding", SequenceSettings(), Recall(0.1), loop), "omega_weight is for cores"),
        (lambda: Experiment("Glimpse/MNIST-v0", SequenceSettings(), Recall(), loop), "does not teach on"),
        (lambda: make_sequences("addding", {}), "did you mean 'adding'"),
        (lambda: make_sequences("adding", {"lenght": 3}), "did you mean 'length'"),
        (lambda: make_sequences("adding", {"length": 1}), "length must be an integer from 2"),
        (lambda: make_sequences("rows", {"dataset": "cifar10-jpegs"}), "cifar10-jpeg"),
        (
            lambda: NextStep().lesson(None, Task("adding", {}, loop, 1)),
            "reads 'characters' or 'sketch', got 'adding'",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            make()
