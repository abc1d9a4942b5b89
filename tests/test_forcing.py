"""What a language model is fed, and how what it writes is judged: plain references and literal numbers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from agents.agent import SequenceSpec
from agents.experiments import Experiment
from agents.learn import forcing, written
from agents.learn.evaluate import scoring
from agents.learn.language import NextStep, Streams, write
from agents.learn.loop import Loop, Task
from agents.learn.sequences import Sketch, make_sequences
from agents.learn.written import NGrams, complete, nearest_class
from agents.models.char_lm import CharLM, CharLMSettings, Discriminator
from agents.parts.steps import draw
from glimpse_env.data.files import DatasetError
from glimpse_env.data.images import load

PLAIN: dict[str, Any] = {"hidden": 8, "embedding": 4, "input_dropout": 0.0, "output_dropout": 0.0}
SYMBOLS = SequenceSpec(5, 5, 6, symbols=True, alphabet="abcde")
ROWS = SequenceSpec(4, 4, 6)


def model(spec: SequenceSpec = SYMBOLS, **more: Any) -> CharLM:
    torch.manual_seed(0)
    return CharLM(spec, CharLMSettings(**PLAIN, **more))


def steps(spec: SequenceSpec, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    symbols, pixels = torch.randint(5, (count + 1, 3)), (torch.rand(count + 1, 3, 4) > 0.5).float()
    cut = symbols if spec.symbols else pixels
    return cut[:-1], cut[1:]


@pytest.mark.parametrize("spec", [SYMBOLS, ROWS])
def test_sampling_nothing_is_teacher_forcing(spec: SequenceSpec) -> None:
    made, (told, target) = model(spec), steps(spec)
    taught = forcing.teacher(made, told, target, None)
    sampled = forcing.scheduled(made, told, target, None, share=0.0)
    torch.testing.assert_close(taught.nats, sampled.nats)
    torch.testing.assert_close(taught.state, sampled.state)
    assert taught.nats.shape == (6, 3)


def test_sampling_everything_reads_only_its_own_draws() -> None:
    """A model that always draws one symbol sees that symbol at every step but the first."""
    made, (told, target) = model(), steps(SYMBOLS)
    with torch.no_grad():
        made.head.weight.zero_()
        made.head.bias.copy_(torch.tensor([0.0, 0, 50, 0, 0]))
    seen = forcing.scheduled(made, told, target, None, share=1.0)
    as_if = torch.cat([told[:1], torch.full((5, 3), 2)])
    torch.testing.assert_close(seen.state, made(as_if)[1])


def test_a_share_of_the_steps_of_every_row_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The truth is symbol 1 throughout, and the model draws symbol 2."""
    made = model()
    with torch.no_grad():
        made.head.weight.zero_()
        made.head.bias.copy_(torch.tensor([0.0, 0, 50, 0, 0]))
    fed, embed = [], made.embedding.forward
    monkeypatch.setattr(made.embedding, "forward", lambda told: embed(fed.append(told[0]) or told))
    truth = torch.ones(20, 500, dtype=torch.long)
    torch.manual_seed(0)
    forcing.scheduled(made, truth, truth, None, share=0.25)
    own = (torch.stack(fed)[1:] == 2).double()
    assert ((own.mean(1) - 0.25).abs() < 0.07).all()  # of 500 rows a quarter at each step, within 3.6 sigma
    # Steps of one row are as independent of each other: the variance of their number is 19 * .25 * .75.
    assert own.sum(0).var().item() == pytest.approx(19 * 0.25 * 0.75, rel=0.2)


def test_the_share_that_is_sampled_rises_with_training() -> None:
    made = make_sequences("characters", {"dataset": "python-docs"})
    task = Task("characters", {"dataset": "python-docs"}, Loop(batch_size=4), 1)
    language_model = model(made.spec)
    taught, sampled = NextStep(), NextStep(forcing="scheduled", sampled=0.5)
    at_first = [learner.lesson(language_model, task).batch([1], 0.0).loss for learner in (taught, sampled)]
    assert at_first[0].item() == pytest.approx(at_first[1].item(), rel=1e-5)
    lesson = sampled.lesson(language_model, task)
    torch.manual_seed(2)
    halfway = lesson.batch([1], 0.5).loss
    steps, target, state = Streams(made).batch([1], 4)
    torch.manual_seed(2)
    wanted = forcing.scheduled(language_model, steps, target, state, share=0.25)
    assert halfway.item() == pytest.approx(wanted.nats.mean().item(), rel=1e-5)


def test_surprise_is_of_a_symbol_or_of_all_pixels() -> None:
    scores = torch.randn(2, 3, 5)
    wanted = torch.randint(5, (2, 3))
    by_hand = [[-scores[t, b].log_softmax(0)[wanted[t, b]] for b in range(3)] for t in range(2)]
    torch.testing.assert_close(model().surprise(scores, wanted), torch.tensor(by_hand))
    rows = torch.tensor([[[1.0, 0, 0, 1]]])
    p = torch.tensor([[[0.9, 0.2, 0.5, 0.1]]])
    nats = model(ROWS).surprise(torch.logit(p), rows)
    assert nats.item() == pytest.approx(-math.log(0.9 * 0.8 * 0.5 * 0.1), rel=1e-5)


@pytest.mark.parametrize("spec", [SYMBOLS, ROWS])
def test_the_professors_gradients_go_where_they_should(spec: SequenceSpec) -> None:
    """The discriminator learns from its own error alone, the model is never asked to be told apart."""
    made, (told, target) = model(spec, discriminator=16), steps(spec)
    assert isinstance(made.discriminator, Discriminator)
    forced = forcing.professor(made, told, target, None)
    torch.testing.assert_close(forced.nats, forcing.teacher(made, told, target, None).nats)
    right = forced.figures["discriminator_right"].item()
    assert 0 <= right <= 1
    forced.more.backward()
    told_apart = [weight.grad for weight in made.discriminator.parameters()]
    assert all((grad is not None and grad.abs().sum() > 0) == (right < 0.99) for grad in told_apart)
    core = [weight.grad for weight in made.reader.parameters()]
    assert all((grad is not None and grad.abs().sum() > 0) == (right > 0.75) for grad in core)


@pytest.mark.parametrize(("shift", "learns", "teaches"), [(0.0, True, False), (1.0, False, True)])
def test_the_discriminators_gates(shift: float, learns: bool, teaches: bool) -> None:
    """One that is right in half of the rows only learns; one that is always right only teaches."""
    made, (told, target) = model(discriminator=3), steps(SYMBOLS)

    class Judge(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))
            self.calls = 0

        def forward(self, ys: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            sign = 1.0 if self.calls == 1 else 1 - 2 * shift  # the truth is judged first
            return self.scale * sign * (1 + 0 * ys.sum((0, 2))) + 1e-3 * ys.sum((0, 2))

    made.discriminator = Judge()  # type: ignore[assignment]
    forced = forcing.professor(made, told, target, None)
    forced.more.backward()
    assert (made.discriminator.scale.grad.abs() > 0) == learns
    touched = made.reader.core.glimpse.weight.grad
    assert (touched is not None and touched.abs().sum().item() > 0) == teaches


def test_forcing_and_its_settings_go_together() -> None:
    loop, env = Loop(epochs=1), {"dataset": "python-docs"}
    plain = CharLMSettings(**PLAIN)
    for settings, learner, says in (
        (plain, {"forcing": "scheduled"}, "set both or neither"),
        (plain, {"sampled": 0.5}, "set both or neither"),
        (plain, {"forcing": "scheduled", "sampled": 1.5}, "between 0 and 1"),
        (plain, {"forcing": "professor"}, "discriminator above 0"),
        (CharLMSettings(discriminator=4), {}, "discriminator above 0"),
        (CharLMSettings(), {"forcing": "scheduled", "sampled": 0.5}, "dropout is the same at all steps"),
    ):
        with pytest.raises(ValueError, match=says):
            Experiment("characters", settings, NextStep(**learner), loop, env=env)


# -- what is written ----------------------------------------------------------------------------------------


def test_writing_follows_the_model_and_bad_prompts_are_named() -> None:
    made = model().eval()
    torch.manual_seed(3)
    one = "".join(itertools.islice(write(made, "ab", 1.0), 50))
    torch.manual_seed(3)
    assert one == "".join(itertools.islice(write(made, "ab", 1.0), 50))
    greedy = "".join(itertools.islice(write(made, "ab", 0.0), 5))
    symbols = torch.tensor([0, 1])
    for said in greedy:
        scores, _ = made(symbols[:, None])
        assert said == "abcde"[int(scores[-1, 0].argmax())]
        symbols = torch.cat([symbols, scores[-1, 0].argmax()[None]])
    least = "".join(itertools.islice(write(made, "ab", 1e-40), 5))  # scores divided by it overflow
    assert least == "".join(itertools.islice(write(made, "ab", 0.0), 5))
    cold, coldest = (itertools.islice(write(made, "a", temperature), 5) for temperature in (1e-50, 0))
    assert list(cold) == list(coldest)
    for prompt, temperature, says in (("", 1.0, "empty"), ("a", -1.0, "at least 0"), ("a", math.nan, "nan")):
        with pytest.raises(ValueError, match=says):
            next(write(made, prompt, temperature))
    with pytest.raises(DatasetError, match="the prompt has 'x'"):
        next(write(made, "axe"))


@pytest.mark.parametrize("symbols", [True, False])
def test_what_has_diverged_is_not_drawn_from(symbols: bool) -> None:
    with pytest.raises(ValueError, match="is not finite: train anew with a lower learning_rate"):
        draw(torch.full((2, 3), math.nan), symbols)


def test_a_language_model_with_a_long_memory_remembers_a_stretch() -> None:
    spec = SYMBOLS._replace(length=200)
    made = CharLM(spec, CharLMSettings(core="chrono-lstm", hidden=400, weight_dropout=0.0))
    keep = dict(made.reader.core.named_parameters())["glimpse.bias"].detach().chunk(4)[1]
    assert 150 < keep.exp().max() < 200


def test_witten_bell_by_hand() -> None:
    judge = NGrams("abab", symbols=4, order=2)
    # Before any history: a and b twice each of four, two different ones.
    a = (2 + 2 * (1 / 4)) / (4 + 2)
    assert judge.probability("", "a") == pytest.approx(a)
    unseen = 2 * (1 / 4) / (4 + 2)
    assert judge.probability("", "c") == pytest.approx(unseen)
    # After a came b, twice, one different one.
    assert judge.probability("xa", "b") == pytest.approx((2 + 1 * a) / (2 + 1))
    assert judge.probability("a", "c") == pytest.approx((0 + 1 * unseen) / (2 + 1))
    # A history that never was says nothing.
    assert judge.probability("c", "a") == pytest.approx(a)
    nats = -(math.log(a) + math.log((2 + a) / 3)) / 2
    assert judge.nats("ab") == pytest.approx(nats)


def test_n_grams_are_probabilities() -> None:
    text = "".join(np.random.default_rng(0).choice(list("abcd"), 500))
    judge = NGrams(text, symbols=4, order=4)
    for history in ("", "a", "bc", "abc", "dddd"):
        assert sum(judge.probability(history, c) for c in "abcd") == pytest.approx(1)
    heard = "dabcab"  # each by all that comes before it, of which the last three count
    each = [-math.log(judge.probability(heard[:i], c)) for i, c in enumerate(heard)]
    assert judge.nats(heard) == pytest.approx(sum(each) / len(each))
    assert judge.probability("bc", "a") != judge.probability("c", "a")


def test_a_digit_is_completed_below_its_middle_and_judged_by_its_neighbour() -> None:
    sketch = make_sequences("sketch", {"dataset": "mnist-5k"})
    assert isinstance(sketch, Sketch)
    told, rows = sketch.block("train", 0)
    assert torch.equal(told[1:], rows[:-1])
    assert (told[0] == 0).all()
    assert set(rows.unique().tolist()) == {0.0, 1.0}
    labels = torch.tensor(load("mnist-5k", "train").labels[:1000])
    assert torch.equal(nearest_class(rows, "mnist-5k"), labels)  # each is its own neighbour
    made = CharLM(sketch.spec, CharLMSettings(**PLAIN)).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        made.embedding.weight.mul_(10)  # so that each row is told by what was above it
        made.head.weight.mul_(10)
    given = torch.randint(2, (28, 5, 28)).float()
    with scoring(made, 0):
        whole = complete(made, given)
    assert torch.equal(whole[:14], given[:14])
    assert not torch.equal(whole[14:], given[14:])
    # Row by row, each drawn from what is said of it when all that is above it has been read.
    torch.manual_seed(0)  # as whoever scores a model does
    for place in range(14, 28):
        scores, _ = made(torch.cat([torch.zeros(1, 5, 28), whole[:place]]))
        assert torch.equal(made.draw(scores[-1]), whole[place])


def test_no_two_digits_are_completed_by_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    sketch = make_sequences("sketch", {"dataset": "mnist-5k"})
    assert isinstance(sketch, Sketch)
    blank = CharLM(sketch.spec, CharLMSettings(**PLAIN)).eval()
    with torch.no_grad():
        blank.head.weight.zero_()  # so that what is drawn depends on the draws alone
    halves = []

    def noting(rows: torch.Tensor, dataset: str) -> torch.Tensor:
        halves.append(rows[14:].transpose(0, 1).flatten(1))
        return torch.zeros(rows.shape[1], dtype=torch.long)

    monkeypatch.setattr(written, "nearest_class", noting)
    written.error_of_completed(blank, sketch, "train")
    drawn = torch.cat(halves)
    assert drawn.shape == (2000, 14 * 28)
    assert len(drawn.unique(dim=0)) == 2000


def test_texts_are_judged_by_what_was_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_sequences("characters", {"dataset": "python-docs"})
    parts = {split: "".join(made.spec.alphabet[i] for i in part) for split, part in made.text.items()}
    counted, judged = [], []

    class Noting:
        def __init__(self, text: str, symbols: int) -> None:
            counted.append((text, symbols))

        def nats(self, text: str) -> float:
            judged.append(text)
            return 1.0 + len(judged) % 2

    monkeypatch.setattr(written, "NGrams", Noting)
    monkeypatch.setattr(written, "TEXTS", 4)
    monkeypatch.setattr(written, "LENGTH", 30)
    language_model = model(made.spec)
    assert written.nats_of_own_text(language_model, made).error == 1.5
    assert written.nats_of_training_text(made).error == 1.5
    assert counted == [(parts["validation"] + parts["test"], len(made.spec.alphabet))] * 2
    own, real = judged[:4], judged[4:]
    assert [len(one) for one in judged] == [30] * 8
    assert all(one in parts["train"] and one not in parts["test"] for one in real)
    assert len(set(own)) == len(set(real)) == 4
    torch.manual_seed(0)  # as whoever scores a model does
    symbols, state, columns = torch.full((4,), made.spec.alphabet.index("\n")), None, []
    for _ in range(30):
        scores, state = language_model.eval()(symbols[None], state)
        symbols = language_model.draw(scores[0])
        columns.append(symbols)
    assert own == ["".join(made.spec.alphabet[i] for i in row) for row in torch.stack(columns, 1)]


def test_the_next_row_is_asked_pixel_by_pixel() -> None:
    sketch = make_sequences("sketch", {"dataset": "mnist-5k"})
    told, target = sketch.block("test", 0)
    made = CharLM(sketch.spec, CharLMSettings(**PLAIN)).eval()
    scores, _ = made(told[:, :3])
    by_hand = F.binary_cross_entropy(torch.sigmoid(scores), target[:, :3], reduction="sum")
    torch.testing.assert_close(made.surprise(scores, target[:, :3]).sum(), by_hand)
