"""Models of sentences: alignment, teaching equal to the loop, beams, the reading agent, learning."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents.agent import Spec
from agents.cores import Stack
from agents.experiments import EXPERIMENTS, Experiment
from agents.experiments.experiment import to_config
from agents.learn import envs, reading
from agents.learn.envs import make_env, single_env
from agents.learn.loop import Loop
from agents.learn.pools import Texts
from agents.learn.reading import Read, Reading, look_through
from agents.learn.reinforce import Objective
from agents.learn.run import Run
from agents.learn.sentences import (
    HardLooks,
    TeacherForcing,
    off_diagonal,
    translate,
    written,
)
from agents.models.reading_agent import ReadingAgentSettings
from agents.models.seq2seq import Seq2Seq, Seq2SeqSettings
from agents.models.transformer import TransformerSettings
from agents.parts import alignment, beam
from agents.parts.gaze import GazePolicy
from agents.parts.vocabulary import turned
from agents.show import alignment as show_alignment
from glimpse_env.sensors.words import read_words

SPEC = Spec((5,), (20,), 30, (), 12, 12, 30, 1)  # 20 places of 29 words, 12 answers of 29 words and END
END = 29
OFFLINE = {"dataset": "number-names", "pair": "de-en"}
KINDS: list[dict[str, Any]] = [
    {},
    {"attention": "none", "reverse": True, "bidirectional": False},
    {"attention": "last", "bidirectional": False},
    {"attention": "dot", "tied": False},
    {"attention": "concat", "feeding": "context"},
    {"feeding": "readout"},
    {"local": 4, "reverse": True},
    {"local": 4, "moves": True},
    {"local": 4, "moves": True, "feeding": "context"},
    {"local": 4, "moves": True, "feeding": "above", "layers": 3},
    {"feeding": "above", "layers": 2, "hard": True},
    {"hard": True},
    {"layers": 4, "residual": True},
    {"layers": 3, "attention": "concat", "feeding": "context"},
    {"layers": 3, "deep_bidirectional": True},
    {"layers": 2, "deep_bidirectional": True, "residual": True, "reverse": True},
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def texts(*lengths: int) -> Tensor:
    canvas = torch.zeros(len(lengths), 20, dtype=torch.long)
    for row, length in enumerate(lengths):
        canvas[row, :length] = torch.randint(1, 30, (length,))
    return canvas


def answers(*lengths: int) -> Tensor:
    target = torch.full((len(lengths), 12), -1)
    for row, length in enumerate(lengths):
        target[row, :length] = torch.randint(0, 30, (length,))
    return target


def model_of(kind: dict[str, Any]) -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2SeqSettings(hidden=16, embedding=12, **kind).build(SPEC).eval()


@pytest.mark.parametrize("kind", alignment.KINDS)
@pytest.mark.parametrize("width", [0, 4])
def test_alignment_is_its_formula(kind: alignment.Kind, width: int) -> None:
    torch.manual_seed(0)
    align = alignment.Alignment(kind, 6, 6, width)
    query, keys = torch.randn(2, 3, 6), torch.randn(2, 5, 6)
    there = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    weights = align(query, align.prepare(keys), there).detach()
    own = {name: p.detach().numpy() for name, p in align.named_parameters()}
    for b, t in itertools.product(range(2), range(3)):
        q, n = query[b, t].numpy(), int(there[b].sum())
        scores = []
        for k in keys[b, :n].numpy():
            if kind == "dot":
                scores.append(q @ k)
            elif kind == "general":
                scores.append(q @ own["key.weight"] @ k)
            else:
                inner = own["query.weight"] @ q + own["query.bias"] + own["key.weight"] @ k
                scores.append(own["score.weight"][0] @ np.tanh(inner))
        expected = np.exp(scores) / np.exp(scores).sum()
        if width:
            hidden = np.tanh(own["place.0.weight"] @ q + own["place.0.bias"])
            place = n / (1 + np.exp(-(own["place.2.weight"][0] @ hidden + own["place.2.bias"][0])))
            expected = expected * np.exp(-((np.arange(n) - place) ** 2) / (2 * (width / 2) ** 2))
        np.testing.assert_allclose(weights[b, t, :n], expected, atol=1e-5)
        assert weights[b, t, n:].abs().sum() == 0


def test_a_window_moves_on_from_where_it_was() -> None:
    torch.manual_seed(0)
    align = alignment.Alignment("dot", 6, 6, 3, moves=True)
    query, keys = torch.randn(1, 4, 6), torch.randn(1, 5, 6)
    there = torch.ones(1, 5, dtype=torch.bool)
    steps = align.advance(query)
    weights = align(query, keys, there, steps.cumsum(1)).detach().numpy()
    own = {name: p.detach().numpy() for name, p in align.named_parameters()}
    centre = 0.0
    for t in range(4):
        q = query[0, t].numpy()
        hidden = np.tanh(own["place.0.weight"] @ q + own["place.0.bias"])
        centre += 1 / (1 + np.exp(-(own["place.2.weight"][0] @ hidden + own["place.2.bias"][0])))
        scores = keys[0].numpy() @ q - (np.arange(5) - centre) ** 2 / (2 * 1.5**2)
        np.testing.assert_allclose(weights[0, t], np.exp(scores) / np.exp(scores).sum(), atol=1e-5)


@every_kind
def test_teaching_is_saying_word_by_word_and_rows_are_apart(kind: dict[str, Any]) -> None:
    model = model_of(kind)
    canvas, target = texts(3, 7, 20, 1, 5, 5), answers(3, 12, 5, 1, 5, 8)
    scores, looks = model.teach(canvas, target)
    taught = torch.zeros(6, 12, 30)
    taught[target >= 0] = scores.detach()
    for row in range(6):
        state, heard = model.read(canvas[row : row + 1]), torch.zeros(1, dtype=torch.long)
        for t in range(int((target[row] >= 0).sum())):
            said, state = model.say(heard, state)
            torch.testing.assert_close(said[0], taught[row, t], atol=1e-5, rtol=1e-5)
            places = state["weights"].shape[1]
            torch.testing.assert_close(state["weights"][0], looks[row, t, :places], atol=1e-5, rtol=1e-5)
            assert looks[row, t, places:].abs().sum() == 0
            heard = target[row, t : t + 1] + 1


@pytest.mark.parametrize("tied", [True, False])
def test_a_transformer_teaches_as_it_says(tied: bool) -> None:
    torch.manual_seed(0)
    model = TransformerSettings(width=12, layers=2, heads=3, inner=20, tied=tied).build(SPEC).eval()
    canvas, target = texts(3, 20, 1, 5), answers(3, 12, 1, 8)
    scores, _ = model.teach(canvas, target)
    taught = torch.zeros(4, 12, 30)
    taught[target >= 0] = scores.detach()
    found = beam.search(model, canvas, END, 12, beams=1)
    for row in range(4):
        state, heard = model.read(canvas[row : row + 1]), torch.zeros(1, dtype=torch.long)
        for t in range(int((target[row] >= 0).sum())):
            said, state = model.say(heard, state)
            torch.testing.assert_close(said[0], taught[row, t], atol=1e-5, rtol=1e-5)
            assert state["weights"].sum().item() == pytest.approx(1, abs=1e-5)
            assert (state["weights"][0] * (canvas[row] == 0)).sum() == 0
            heard = target[row, t : t + 1] + 1
        # Words that come later change nothing that was said before.
        longer = torch.cat([target[row, :2].clamp_min(0), torch.tensor([7, 8, 9])])[None]
        first, _ = model.teach(canvas[row : row + 1], longer)
        torch.testing.assert_close(first[0], taught[row, 0], atol=1e-5, rtol=1e-5)
        assert beam.search(model, canvas[row : row + 1], END, 12, beams=1)[0] == found[row]


def test_a_transformers_layers_are_torchs() -> None:
    """Layers with the same weights, on texts of 3, 20 and 8 words, of which answers of 4 words are said."""
    torch.manual_seed(0)
    model = TransformerSettings(width=24, layers=2, heads=3, inner=40).build(SPEC).eval()
    names = {"own": "self_attn", "other": "multihead_attn", "inner.0": "linear1", "inner.2": "linear2"}
    names |= {f"norms.{i}": f"norm{i + 1}" for i in range(3)}

    def like(ours: nn.Module, kind: type[nn.Module]) -> Any:
        theirs = kind(24, 3, 40, dropout=0.0, batch_first=True, norm_first=True)
        weights = {}
        for name, weight in ours.state_dict().items():
            part = next(part for part in names if name.startswith(part))
            weights[name.replace(part, names[part], 1)] = weight
        theirs.load_state_dict(weights)
        return theirs

    canvas, target = texts(3, 20, 8), answers(4, 4, 4)[:, :4]
    heard = torch.cat([torch.zeros(3, 1, dtype=torch.long), target[:, :-1] + 1], 1)
    xs, ys = (
        24**0.5 * (model.heard(words) + model.place(torch.arange(words.shape[1])))
        for words in (canvas, heard)
    )
    for layer in model.encoder:
        xs = like(layer, nn.TransformerEncoderLayer)(xs, src_key_padding_mask=canvas == 0)
    keys = model.read_norm(xs)
    torch.testing.assert_close(model.read(canvas)["keys"][canvas > 0], keys[canvas > 0])
    later = torch.ones(4, 4, dtype=torch.bool).triu(1)
    for layer in model.decoder:
        ys = like(layer, nn.TransformerDecoderLayer)(
            ys, keys, tgt_mask=later, memory_key_padding_mask=canvas == 0
        )
    wanted = model.said_norm(ys) @ model.heard.weight[1:].t() + model.bias
    scores, _ = model.teach(canvas, target)
    torch.testing.assert_close(scores.view(3, 4, -1), wanted)


@every_kind
def test_as_an_agent_it_says_the_same(kind: dict[str, Any]) -> None:
    model = model_of(kind)
    canvas, target = texts(4, 9), answers(6, 6)
    scores, looks = model.teach(canvas, target)
    state = model.initial(2)
    for t in range(6):
        said = target[:, t - 1 : t] if t else torch.full((2, 1), -1)
        step, state = model({"canvas": canvas, "said": said}, state, False)
        torch.testing.assert_close(step.logits, scores.view(2, 6, 30)[:, t], atol=1e-5, rtol=1e-5)
        if model.alignment is not None and not model.settings.local:
            mean = (looks[:, t] * torch.arange(looks.shape[2])).sum(1, keepdim=True)
            torch.testing.assert_close(step.gaze, 2 * mean / 19 - 1, atol=1e-5, rtol=1e-5)


def test_a_turned_sequence_begins_at_its_end() -> None:
    xs = torch.arange(10).view(5, 2, 1)
    assert turned(xs, torch.tensor([5, 3]))[..., 0].t().tolist() == [[8, 6, 4, 2, 0], [5, 3, 1, 7, 9]]


def test_looks_off_the_diagonal_are_counted_word_by_word() -> None:
    canvas, target = texts(4, 10), answers(8, 5)
    looks = torch.rand(2, 12, 20).softmax(-1)
    total = []
    for row, (words, said) in enumerate(((4, 8), (10, 5))):
        for t in range(said):
            far = [1 - math.exp(-((n / words - t / said) ** 2) / 0.08) for n in range(20)]
            total.append(sum(far[n] * float(looks[row, t, n]) for n in range(20)))
    assert float(off_diagonal(looks, canvas, target)) == pytest.approx(np.mean(total), rel=1e-5)
    assert float(off_diagonal(torch.eye(12)[None], texts(12)[:, :12], answers(12))) == 0
    model = model_of({})
    nothing = torch.cat([target[:1], torch.full((1, 12), -1)]), torch.cat([canvas[:1], 0 * canvas[:1]])
    assert float(off_diagonal(looks[:1].repeat(2, 1, 1), nothing[1], nothing[0])) == pytest.approx(
        float(off_diagonal(looks[:1], canvas[:1], target[:1])), rel=1e-5
    )  # of an empty text, of which nothing is said
    plain, weighed = (TeacherForcing(diagonal_weight=w).loss(model, canvas, target) for w in (0.0, 2.0))
    extra = 2 * off_diagonal(model.teach(canvas, target)[1], canvas, target)
    torch.testing.assert_close(weighed, plain + extra)


def test_the_layer_above_sees_what_the_lowest_looked_at() -> None:
    model = model_of({"feeding": "above", "layers": 3, "local": 3, "moves": True})
    canvas, words = texts(6), [0, 4, 9, 2]
    target = torch.tensor([[word - 1 for word in words[1:]] + [7]])
    state = model.read(canvas)
    keys, align, upper = state["keys"][0, :6], model.alignment, model.above_look
    assert align is not None
    assert isinstance(upper, Stack)
    core, above, centre, expected = state["core"], state["above"], torch.zeros(()), []
    for word in words:
        y, core = model.decoder(model.heard(torch.tensor([word])), core)
        assert align.place is not None
        centre = centre + align.place(y[0]).sigmoid()[0]
        scores = keys @ align.key.weight.t() @ y[0]  # type: ignore[operator, union-attr]
        weights = (scores - (torch.arange(6) - centre) ** 2 / (2 * 1.5**2)).softmax(0)
        context = (weights @ keys)[None]
        z, first = upper.cores()[0](torch.cat([y, context], 1), above[0])
        z, second = upper.cores()[1](z, above[1])
        above = (first, second)
        read = torch.tanh(model.readout(torch.cat([z, context], 1)))
        expected.append(read @ model.heard.weight[1:].t() + model.bias)
    torch.testing.assert_close(model.teach(canvas, target)[0], torch.cat(expected), atol=1e-5, rtol=1e-5)
    # It goes on from where it is, too.
    state = model.read(canvas)
    for word in words[:2]:
        _, state = model.say(torch.tensor([word]), state)
    state["centre"] += 1.5
    said, _ = model.say(torch.tensor([0]), state)
    torch.testing.assert_close(model.teach_from(state, target)[0][:1], said, atol=1e-5, rtol=1e-5)


def test_the_window_learns_where_to_go_in_turn_as_it_does_at_once() -> None:
    model = model_of({"feeding": "above", "layers": 2, "local": 3, "moves": True}).double()
    canvas, target = texts(6, 9), answers(5, 5)
    assert model.alignment is not None
    assert model.alignment.place is not None
    weights = list(model.alignment.place.parameters())
    at_once, _ = model.teach(canvas, target)
    heard = torch.cat([torch.zeros(2, 1, dtype=torch.long), target[:, :4] + 1], 1)
    read, _ = model._in_turn(heard, model.read(canvas))
    in_turn = model._score(read[target[:, :5] >= 0])
    for one, other in zip(
        torch.autograd.grad(at_once.square().sum(), weights),
        torch.autograd.grad(in_turn.square().sum(), weights),
        strict=True,
    ):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_layers_that_read_drop_units_between_them_and_may_be_residual() -> None:
    model, canvas = model_of({"layers": 2, "residual": True, "dropout": 0.5}), texts(6)
    assert model.above is not None
    lowest, _ = model.ahead.unroll(model.heard(canvas).transpose(0, 1)[:6], None)
    back, _ = model.back.unroll(model.heard(canvas[:, :6]).flip(1).transpose(0, 1), None)  # type: ignore[union-attr]
    xs = torch.cat([lowest, back.flip(0)], -1)
    ys, _ = model.above.layers[0].unroll(xs, None)  # type: ignore[operator]
    torch.testing.assert_close(model.read(canvas)["keys"][0, :6], (xs + ys)[:, 0], atol=1e-5, rtol=1e-5)
    model.above.train()  # what the second layer sees drops out, and what it adds to does not
    added = torch.stack([model.read(canvas)["keys"][0, :6] - xs[:, 0] for _ in range(2)]).detach()
    assert not torch.allclose(*added)


def test_a_text_may_be_read_from_its_end() -> None:
    plain, back = model_of({"bidirectional": False}), model_of({"bidirectional": False, "reverse": True})
    canvas = texts(6)
    turned_round = torch.cat([canvas[:, :6].flip(1), canvas[:, 6:]], 1)
    keys, others = back.read(canvas)["keys"][0, :6], plain.read(turned_round)["keys"][0, :6]
    torch.testing.assert_close(keys, others.flip(0))


def test_an_encoder_that_reads_both_ways_is_torchs() -> None:
    model = model_of({"layers": 2, "deep_bidirectional": True})
    assert model.above is not None
    other = torch.nn.LSTM(12, 8, 2, bidirectional=True)
    own = [model.ahead, model.back, model.above.layers[0], model.above.backs[0]]
    with torch.no_grad():
        for core, end in zip(own, ("l0", "l0_reverse", "l1", "l1_reverse"), strict=True):
            for ours, theirs in (("glimpse.weight", "weight_ih"), ("recurrent.weight", "weight_hh")):
                let_in, keep, let_out, new = core.get_parameter(ours).chunk(4)  # type: ignore[union-attr]
                other.get_parameter(f"{theirs}_{end}").copy_(torch.cat([let_in, keep, new, let_out]))
            let_in, keep, let_out, new = core.get_parameter("glimpse.bias").chunk(4)  # type: ignore[union-attr]
            other.get_parameter(f"bias_ih_{end}").copy_(torch.cat([let_in, keep, new, let_out]))
            other.get_parameter(f"bias_hh_{end}").zero_()
        canvas = texts(7, 20)
        keys = model.read(canvas)["keys"]
        for row, length in enumerate((7, 20)):
            expected, _ = other(model.heard(canvas[row, :length]))
            torch.testing.assert_close(keys[row, :length], expected, atol=1e-5, rtol=1e-5)


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="one vocabulary"):
        Seq2SeqSettings().build(SPEC._replace(words=31))
    with pytest.raises(ValueError, match="glimpses_per_answer"):
        Seq2SeqSettings().build(SPEC._replace(horizon=24))
    for wrong, says in (
        ({"attention": "soft"}, "attention must be one of"),
        ({"hidden": 15}, "hidden must be even"),
        ({"local": 3, "attention": "none"}, "local is of attention"),
        ({"attention": "none", "feeding": "context"}, "needs attention"),
        ({"residual": True}, "layers to 2"),
        ({"moves": True}, "set local"),
        ({"feeding": "above"}, "needs two layers"),
        ({"feeding": "above", "layers": 2, "attention": "last"}, "needs two layers"),
        ({"feeding": "above", "layers": 2, "residual": True}, "no residual layers"),
        ({"deep_bidirectional": True}, "others above it"),
        ({"deep_bidirectional": True, "layers": 2, "bidirectional": False}, "others above it"),
        ({"hard": True, "local": 3}, "hard is of"),
        ({"dropout": 1.0}, "dropout"),
    ):
        with pytest.raises(ValueError, match=says):
            Seq2SeqSettings(**wrong)
    for setting in ({"objective": "reinforce"}, {"baseline": "leave_one_out"}, {"rollouts": 2}):
        with pytest.raises(ValueError, match="can only be"):
            Reading(**setting)
    with pytest.raises(ValueError, match="heads must divide width"):
        TransformerSettings(width=10, heads=3)
    with pytest.raises(ValueError, match="as wide as keys"):
        alignment.Alignment("dot", 4, 5)
    with pytest.raises(ValueError, match="set its width"):
        alignment.Alignment("dot", 4, 4, moves=True)
    with pytest.raises(ValueError, match="one vocabulary"):
        ReadingAgentSettings().build(SPEC._replace(words=31))
    unfit = Experiment(
        "Glimpse/MNIST-v0", Seq2SeqSettings(), TeacherForcing(), Loop(), env={"dataset": "mnist-5k"}
    )
    spec = unfit.spec()
    with pytest.raises(ValueError, match="builds an agent for texts"):
        unfit.build(spec)


@pytest.mark.parametrize("objective", ["variational", "reinforce"])
def test_hard_looks_climb_what_they_are_paid(objective: Objective) -> None:
    """The gradient of many draws is that of the mean over all places, computed by listing them."""
    model = model_of({"hard": True})
    canvas, target = texts(3, 7, 5), answers(2, 1, 3)
    learner = HardLooks(objective=objective, samples=4000, entropy_weight=0.1)
    align = model.alignment.key.weight  # type: ignore[union-attr]
    torch.manual_seed(1)
    (found,) = torch.autograd.grad(learner.loss(model, canvas, target), align)
    state = model.read(canvas)
    heard = torch.cat([torch.zeros(3, 1, dtype=torch.long), target[:, :-1] + 1], 1)
    ys, _ = model.decoder.unroll(model.heard(heard).transpose(0, 1), state["core"])
    total, words = torch.zeros(()), int((target >= 0).sum())
    for row, step in (target >= 0).nonzero().tolist():
        y, word = ys[step, row], target[row, step]
        p = (state["keys"][row] @ align.t() @ y).masked_fill(~state["there"][row], -torch.inf).softmax(0)
        seen = torch.cat([y.expand(len(p), -1), state["keys"][row]], 1)
        log_p = model._score(torch.tanh(model.readout(seen))).log_softmax(1)
        paid = log_p[:, word] if objective == "variational" else (log_p.argmax(1) == word).float()
        entropy = -(p * p.clamp_min(1e-9).log()).sum()
        answers_loss = -(p.detach() * log_p[:, word]).sum()
        total = total + answers_loss - (p * paid.detach()).sum() - 0.1 * entropy
    (exact,) = torch.autograd.grad(total / words, align)
    assert (found - exact).norm() < 0.08 * exact.norm()


@pytest.mark.parametrize("hard", [False, True])
def test_a_share_of_a_smoothed_words_probability_is_all_words(hard: bool) -> None:
    model = model_of({"hard": hard})
    canvas, target = texts(3, 7, 5), answers(2, 1, 3)
    learner = HardLooks if hard else TeacherForcing
    torch.manual_seed(1)
    plain = learner(label_smoothing=0.0).loss(model, canvas, target)
    torch.manual_seed(1)
    smoothed = learner(label_smoothing=0.2).loss(model, canvas, target)
    torch.manual_seed(1)
    scores = model.teach_hard(canvas, target, 4).scores if hard else model.teach(canvas, target)[0][:, None]
    log_p = scores.log_softmax(2)
    words = target[target >= 0]
    right = torch.stack([log_p[i, :, word] for i, word in enumerate(words.tolist())])
    wanted = 0.2 * (right.mean() - log_p.mean())  # a fifth of what all 30 words cost, in place of that
    torch.testing.assert_close(smoothed - plain, wanted, rtol=1e-4, atol=1e-5)


def test_hard_looks_and_soft_ones_have_their_own_learners() -> None:
    hard, soft = Seq2SeqSettings(hard=True), Seq2SeqSettings()
    HardLooks().check(hard)
    TeacherForcing().check(soft)
    with pytest.raises(ValueError, match="HardLooks"):
        TeacherForcing().check(hard)
    with pytest.raises(ValueError, match="set hard to True"):
        HardLooks().check(soft)
    with pytest.raises(ValueError, match="samples must be at least 2"):
        HardLooks(samples=1)
    with pytest.raises(ValueError, match="discount must be between 0 and 1, got 2"):
        HardLooks(discount=2.0)
    with pytest.raises(ValueError, match="heard of later: choose another"):
        HardLooks(discount=0.5).check(hard)
    TeacherForcing(diagonal_weight=1.0).check(soft)
    with pytest.raises(ValueError, match="of soft looks"):
        HardLooks(diagonal_weight=1.0).check(hard)
    with pytest.raises(ValueError, match="would empty looks"):
        TeacherForcing(diagonal_weight=1.0).check(Seq2SeqSettings(local=3))
    for without in (TransformerSettings(), Seq2SeqSettings(attention="none")):
        with pytest.raises(ValueError, match="dot, general or concat"):
            TeacherForcing(diagonal_weight=1.0).check(without)
    with pytest.raises(ValueError, match="coverage_weight is of attention"):
        TeacherForcing(coverage_weight=0.2).check(Seq2SeqSettings(attention="none"))


class Toy:
    """Scores that depend on the last word and on how many there were, so that all answers can be listed."""

    def __init__(self, words: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = 2 * torch.randn(words + 1, 6, words, generator=generator)
        self.looks = torch.rand(6, 3, generator=generator)

    def read(self, canvas: Tensor) -> dict[str, Any]:
        there = torch.ones(len(canvas), 3, dtype=torch.bool)
        return {"there": there, "weights": 0.0 * there, "step": torch.zeros(len(canvas), dtype=torch.long)}

    def say(self, heard: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        step = state["step"]
        return self.table[heard, step], {**state, "weights": self.looks[step], "step": step + 1}


@pytest.mark.parametrize("length_weight", [0.0, 1.0])
@pytest.mark.parametrize("coverage_weight", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_many_beams_find_the_best_of_all(length_weight: float, coverage_weight: float, seed: int) -> None:
    toy, words, end, most = Toy(4, seed), 4, 3, 4

    def worth(answer: tuple[int, ...]) -> float:
        log_p, heard, cover = 0.0, 0, torch.zeros(3)
        for step, word in enumerate(answer):
            log_p += float(toy.table[heard, step].log_softmax(-1)[word])
            heard, cover = word + 1, cover + toy.looks[step]
        covered = coverage_weight * float(cover.clamp(max=1).log().sum())
        return log_p / ((5 + len(answer)) / 6) ** length_weight + covered

    whole = [
        (*body, end) for n in range(most) for body in itertools.product(range(words - 1), repeat=n)
    ] + list(itertools.product(range(words - 1), repeat=most))
    best = max(whole, key=worth)
    found = beam.search(
        toy,
        torch.zeros(2, 3),
        end,
        most,
        beams=100,
        length_weight=length_weight,
        coverage_weight=coverage_weight,
    )
    assert found == [[word for word in best if word != end]] * 2


def test_one_beam_says_the_most_probable_word() -> None:
    model = model_of({})
    canvas = texts(3, 9, 20, 1)
    found = beam.search(model, canvas, END, 12, beams=1)
    for row in range(4):
        state, heard, said = model.read(canvas[row : row + 1]), torch.zeros(1, dtype=torch.long), []
        while len(said) < 12 and END not in said:
            scores, state = model.say(heard, state)
            said.append(int(scores.argmax()))
            heard = torch.tensor([said[-1] + 1])
        assert found[row] == [word for word in said if word != END]


def test_a_replay_is_what_was_seen_step_by_step() -> None:
    experiment = EXPERIMENTS["gaze-numbers"].but(model={"hidden": 24, "embedding": 16, "dropout": 0.3})
    agent = experiment.build(experiment.spec())
    env = make_env(agent, experiment.env_id, 12, split="train")
    torch.manual_seed(0)
    read = look_through(agent, env, list(range(12)), sample=True)
    assert len(read.retina) == int(read.playing.sum(0).max())
    asked = torch.where(read.due & read.playing, read.next, -1)
    assert agent.training
    log_prob, value = agent.valued(read.h, read.gaze, read.chosen)  # of the policy that looked
    scores = agent.eval().replay(read.retina, read.said, read.gaze, read.playing, asked >= 0)
    spread = torch.zeros(*asked.shape, scores.shape[1])
    spread[asked >= 0] = scores
    state = agent.initial(12)
    for t in range(len(asked)):
        seen = {"retina": read.retina[t], "said": read.said[t][:, None], "gaze": read.gaze[t]}
        step, state = agent(seen, state, False)
        playing = read.playing[t]
        torch.testing.assert_close(step.baseline[playing], value[t, playing], atol=1e-5, rtol=1e-5)
        known = asked[t] >= 0
        torch.testing.assert_close(step.logits[known], spread[t, known], atol=1e-5, rtol=1e-5)
        density = -0.5 * ((read.chosen[t] - step.gaze) / agent.locator.sigma).square().sum(1)
        density = density - math.log(agent.locator.sigma * math.sqrt(2 * math.pi))
        torch.testing.assert_close(density[playing], log_prob[t, playing], atol=2e-3, rtol=1e-4)
        # Teacher forcing: what is heard next is what should have been said.
        if t + 1 < len(asked):
            on = read.playing[t + 1]
            assert (read.said[t + 1][on] == asked[t][on]).all()


@pytest.mark.parametrize("size", [1, 4, 5])
def test_an_eye_remembers_each_word_at_its_place(size: int) -> None:
    """All that its windows showed by then, and 0 elsewhere."""
    torch.manual_seed(0)
    agent = ReadingAgentSettings(hidden=8, embedding=6).build(SPEC._replace(retina=(size,))).eval()
    text, wanted = np.random.default_rng(0).integers(1, 30, (1, 20)), np.zeros((1, 20), np.int64)
    state, window = agent.initial(1), np.empty((1, size), np.int64)
    for gaze in (-1.0, 0.97, -0.3, 0.1, 1.0, -0.9):
        read_words(text, np.array([[gaze]], np.float32), window)
        first = math.floor((float(np.float32(gaze)) + 1) / 2 * 19 + 1 - size / 2)
        for place in range(max(first, 0), min(first + size, 20)):
            wanted[0, place] = text[0, place]
        observation = {"retina": torch.from_numpy(window.copy()), "gaze": torch.tensor([[gaze]])}
        _, _, state = agent.read({**observation, "said": torch.tensor([[-1]])}, state)
        assert state[1].tolist() == wanted.tolist()
    assert 0 < (wanted == 0).sum() < 20


def test_an_eye_begins_by_reading_on_and_may_have_seen_nothing() -> None:
    torch.manual_seed(0)
    agent = ReadingAgentSettings(hidden=8, embedding=6, stride=3, reach=0.5).build(SPEC).eval()
    torch.nn.init.zeros_(agent.locator.weight)
    nothing = torch.zeros(2, 5, dtype=torch.long)
    observation = {
        "retina": nothing, "gaze": torch.tensor([[-1.0], [0.0]]), "said": torch.tensor([[-1], [-1]])
    }  # fmt: skip
    step, _ = agent(observation, agent.initial(2), False)
    places = (step.gaze - observation["gaze"]) * 19 / 2  # of 20
    torch.testing.assert_close(places, torch.full((2, 1), 3.0))
    assert step.logits.isfinite().all()  # of the first place, which is empty
    _, h, (_, words, _) = agent.read(observation, agent.initial(2))
    first = agent._words(words[:, :1]) + agent.place.weight[0]
    torch.testing.assert_close(agent._remember(h[None], words, words[None] > 0)[0], first[:, 0])


@pytest.mark.parametrize("held", [0.0, 0.9])
def test_the_loss_of_reading_by_hand(held: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word by word and gaze by gaze, in plain Python: what is asked, paid, expected and drawn."""
    experiment = EXPERIMENTS["gaze-numbers"].but(
        model={"hidden": 16, "embedding": 12, "dropout": 0.0}, env={"glimpses_per_answer": 2}
    )
    torch.manual_seed(0)
    agent = experiment.build(experiment.spec())
    env = make_env(agent, experiment.env_id, 4, **experiment.env)
    looked: list[Read] = []

    def noted(*arguments: Any, sample: bool) -> Read:
        assert sample == (held == 0)  # else the eye reads on
        looked.append(look_through(*arguments, sample=sample))
        return looked[0]

    monkeypatch.setattr(reading, "look_through", noted)
    learner = Reading(held=held, sigma_start=0.2, discount=0.5, gae_lambda=0.5, reinforce_weight=0.25)
    result = learner.batch(agent, env, [1, 2, 3, 4], 0.5)
    (read,) = looked
    assert len(set(read.playing.sum(0).tolist())) > 1
    nats, gazes, words, wrong = torch.zeros(()), torch.zeros(()), 0, 0
    for b in range(4):  # as many parts as a batch is replayed in
        row = Read(*(part[: int(read.playing[:, b].sum()), b : b + 1] for part in read))
        steps = len(row.next)
        asked = [int(row.next[t]) if row.due[t] else -1 for t in range(steps)]
        assert asked[1::2] == row.next[1::2, 0].tolist()
        assert set(asked[::2]) == {-1}  # at the second of two glimpses
        known = torch.tensor(asked)[:, None] >= 0
        scores = iter(agent.replay(row.retina, row.said, row.gaze, row.playing, known))
        log_prob, expected = agent.valued(row.h, row.gaze, row.chosen)
        paid = [0.0] * steps
        for t, word in enumerate(asked):
            if word >= 0:
                log_p = next(scores).log_softmax(0)
                nats = nats - log_p[word]
                paid[t] = log_p[word].item()
                words += 1
                wrong += int(log_p.argmax()) != word
        # The gaze chosen at step t earns what step t + 1 is paid, and half of what its successor earns.
        earned, advantage = 0.0, 0.0
        for t in reversed(range(steps - 1)):
            earned = paid[t + 1] + 0.5 * earned
            gazes = gazes + (expected[t, 0] - earned) ** 2 / (steps - 1)
            later = expected[t + 1, 0].item() if t + 1 < steps - 1 else 0.0
            advantage = paid[t + 1] + 0.5 * later - expected[t, 0].item() + 0.5 * 0.5 * advantage
            if not held:
                gazes = gazes - 0.25 * log_prob[t, 0] * advantage
    wanted = (nats + reading.GAZES * gazes) / words
    torch.testing.assert_close(result.loss, wanted, rtol=1e-4, atol=1e-6)
    weights = list(agent.parameters())
    ours, theirs = (
        torch.autograd.grad(loss, weights, materialize_grads=True) for loss in (result.loss, wanted)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
    assert result.figures["words_wrong"].item() == pytest.approx(100 * wrong / words)


def test_an_eye_with_reach_moves_from_where_it_looks() -> None:
    policy = GazePolicy(3, 0.1, axes=1, reach=0.5)
    with torch.no_grad():
        policy.bias.fill_(math.atanh(0.4))
        policy.weight.zero_()
    h, present = torch.randn(4, 3), torch.tensor([[-1.0], [0.0], [0.5], [0.95]])
    gaze, _ = policy.look(h, False, present)
    torch.testing.assert_close(gaze[:, 0], torch.tensor([-0.8, 0.2, 0.7, 1.0]))
    torch.testing.assert_close(policy.mean(h, present)[:, 0], torch.tensor([-0.8, 0.2, 0.7, 1.15]))
    # At the end of a text it learns to come back: d log N(g; m, 0.1²) / d m = (g - m) / 0.01.
    policy.log_prob(torch.tensor([[0.9]]), h[3:], present[3:]).sum().backward()
    assert policy.bias.grad is not None
    assert policy.bias.grad.item() == pytest.approx((0.9 - 1.15) / 0.01 * 0.5 * (1 - 0.4**2), rel=1e-4)


@pytest.mark.parametrize(
    ("model", "learner"),
    [
        (Seq2SeqSettings(32, 24), TeacherForcing()),
        (TransformerSettings(24, 1, 2, 48), TeacherForcing()),
        (ReadingAgentSettings(32, 24, dropout=0.1), Reading(sigma_start=0.1, discount=0.8)),
    ],
)
def test_both_learn_translate_and_are_resumed(tmp_path: Path, model: Any, learner: Any) -> None:
    loop = Loop(epochs=2, images_per_epoch=128, batch_size=16, learning_rate=1e-2, bfloat16=False)
    experiment = Experiment(
        "Glimpse/Translate-v0", model, learner, loop, env={**OFFLINE, "canvas_size": 30, "horizon": 31}
    )
    config = to_config("", experiment, experiment.spec())
    agent = experiment.build(experiment.spec())
    lines = list(
        experiment.train(Run(tmp_path / "a", config, resume=False, overwrite=False), agent, quiet=True)
    )
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert lines[0]["validation_bleu"] == pytest.approx(100 - lines[0]["validation_100_less_bleu"])
    other = experiment.build(experiment.spec())
    first = Run(tmp_path / "b", config, resume=False, overwrite=False)
    next(experiment.train(first, other, quiet=True))
    first.close()
    again = experiment.build(experiment.spec())
    list(experiment.train(Run(tmp_path / "b", config, resume=True, overwrite=False), again, quiet=True))
    for name, weight in agent.state_dict().items():
        torch.testing.assert_close(weight, again.state_dict()[name], rtol=0, atol=0)
    found = learner.figures(agent, experiment.task, "validation")
    assert all(0 <= figure.error <= 100 and figure.scenes == 500 for figure in found.values())
    assert {learner.metric(experiment.task, mode) for mode in found} == {"bleu", "bleu_lc"}
    spoken = found["beam" if "beam" in found else "deterministic"]
    assert found["up to 8 words"].error == spoken.error  # no name is longer


def test_what_is_written_is_what_the_environment_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envs, "MOST_ROWS", 300)  # so that the last batch is filled up
    experiment = EXPERIMENTS["luong-de-en"].but(
        model={"hidden": 16, "embedding": 12}, env={**OFFLINE, "canvas_size": 30, "horizon": 31}
    )
    model = experiment.build(experiment.spec())
    greedy = translate(model, experiment.task, "test", beams=1)
    acted = written(model, experiment.task, "test", sample=False)
    count = single_env(experiment.env_id, experiment.env, split="test").vector.num_scenes
    assert len(greedy) == len(acted) == count
    assert count % 300
    # Words that are as probable as each other but for rounding may go either way.
    assert sum(a == b for a, b in zip(greedy, acted, strict=True)) > 0.98 * len(acted)


def test_a_batch_is_of_like_lengths_and_every_pair_is_whole() -> None:
    experiment = EXPERIMENTS["luong-numbers"].but(loop={"batch_size": 8})
    pool = Texts(experiment.build(experiment.spec()), experiment.task)
    drawn = [pool.batch([5] if i == 0 else None) for i in range(32)]
    spread = [int((b.canvas > 0).sum(1).max() - (b.canvas > 0).sum(1).min()) for b in drawn]
    assert np.mean(spread) < 1.5
    for batch in drawn:
        assert ((batch.target >= 0).sum(1) > 1).all()
        ends = batch.target.gather(1, (batch.target >= 0).sum(1, keepdim=True) - 1)
        assert (ends == pool.env.unwrapped.task.end).all()
    twin = Texts(experiment.build(experiment.spec()), experiment.task)
    torch.manual_seed(1)
    first = twin.batch([5])
    torch.manual_seed(1)
    again = Texts(experiment.build(experiment.spec()), experiment.task).batch([5])
    assert torch.equal(first.canvas, again.canvas)


def test_alignments_in_the_terminal_and_as_a_picture(tmp_path: Path) -> None:
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.45, 0.55]], np.float32)
    aligned = show_alignment.Aligned(("▁ein", "▁Hu", "nd"), ("▁a", "▁dog"), weights, "a dog")
    assert show_alignment.in_terminal(aligned).splitlines() == ["    ein Hu nd", "  a ███", "dog     ▒▒ ▒▒"]
    show_alignment.save(tmp_path / "x.png", {"one": aligned, "other": aligned})
    assert iio.imread(tmp_path / "x.png").std() > 5
    experiment = EXPERIMENTS["luong-numbers"].but(model={"hidden": 16, "embedding": 12})
    model, env = experiment.build(experiment.spec()), single_env(experiment.env_id, {}, split="test")
    of = show_alignment.of_text(model, env, "Forty-two, forty two", beams=2)
    assert of.read == ("forty", "two", "forty", "two")
    assert of.weights.shape == (len(of.said), 4)
    np.testing.assert_allclose(of.weights.sum(1), 1, atol=1e-5)
    for text, why in (("three bananas", "'bananas' is in no number's name"), (" ", "1 to 18 known words")):
        with pytest.raises(ValueError, match=why):
            show_alignment.of_text(model, env, text)
    with pytest.raises(ValueError, match="can be typed"):
        show_alignment.of_text(model, single_env("Glimpse/Lookup-v0", {}), "5")
    eye = EXPERIMENTS["gaze-numbers"].but(model={"hidden": 16, "embedding": 12})
    seen = show_alignment.of_eye(eye.build(eye.spec()), env, 3)
    assert seen.weights.shape == (len(seen.said), len(seen.read))
    assert seen.weights[0].tolist() == [1, 1] + [0] * (len(seen.read) - 2)  # from the first place on
    assert seen.weights.sum(1).max() <= 3
