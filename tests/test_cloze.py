"""Documents with a question: what is read, entities numbered anew, readers against plain loops."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import train
from conftest import needs_data
from torch import Tensor

from agents.agent import Spec, to_tensors
from agents.experiments import EXPERIMENTS, Experiment
from agents.experiments.experiment import to_config
from agents.learn.differentiable import Comprehension
from agents.learn.envs import make_env, single_env, spec_of
from agents.learn.loop import Loop
from agents.learn.reinforce import Reinforce
from agents.learn.run import Run
from agents.models.reader import READINGS, Reader, ReaderSettings, ReadingKind
from agents.models.reading_agent import ReadingAgentSettings
from agents.show.playback import AgentPlayer, episode
from glimpse_env import wrappers
from glimpse_env.data import stories
from glimpse_env.data.files import DatasetError
from glimpse_env.render import draw_frame
from glimpse_env.worlds.cloze import ENTITIES, FIRST_ENTITY

CLOZE = "Glimpse/Cloze-v0"
OFFLINE: dict[str, Any] = {"dataset": "stories", "canvas_size": 64, "horizon": 3}
SPEC = Spec((5,), (20,), 8, (), 1, 1, 60, 1, (10,))
every_reading = pytest.mark.parametrize("reading", READINGS)


def vector(count: int, **keywords: Any) -> Any:
    return gymnasium.make_vec(CLOZE, count, "vector_entry_point", **{**OFFLINE, **keywords})


def test_frozen_scenes_are_the_documents_with_other_numbers() -> None:
    env = vector(40, split="test")
    observation, _ = env.reset(options={"index": 7})
    scenes, tokens = env.present_scenes(), env.world.tokens
    moved = 0
    for row, document in enumerate(stories.load("stories", "test")[7:47]):
        context = [tokens[i] for i in scenes.canvas[row] if i]
        question = [tokens[i] for i in observation["question"][row] if i]
        given: dict[str, str] = {}
        for old, new in zip((*document.context, *document.question), (*context, *question), strict=True):
            if stories.is_entity(old) and old != stories.PLACEHOLDER:
                assert given.setdefault(old, new) == new
            else:
                assert old == new
        assert len(set(given.values())) == len(given)
        assert sorted(given.values()) == [f"@entity{i}" for i in range(len(given))]
        assert env.world.names[scenes.target[row]] == given[document.answer]
        moved += list(given.values()) != sorted(given.values())
        place, _, length, _ = scenes.boxes[row]
        assert (length, context[place]) == (1, given[document.answer])
        assert given[document.answer] not in context[:place]
    assert moved > 30
    env.reset(options={"index": 7})
    np.testing.assert_array_equal(env.present_scenes().canvas, scenes.canvas)


def test_every_number_is_as_likely_the_answer() -> None:
    env = vector(6000)
    env.reset(seed=0)
    scenes = env.present_scenes()
    entities = np.array(
        [len(set(row[(row >= FIRST_ENTITY) & (row < FIRST_ENTITY + ENTITIES)])) for row in scenes.canvas]
    )
    for count in (5, 6):
        chosen = scenes.target[entities == count]
        np.testing.assert_allclose(np.bincount(chosen, minlength=count) / len(chosen), 1 / count, atol=0.03)


def test_the_question_stays_in_view() -> None:
    env = vector(3, split="validation")
    observation, _ = env.reset(seed=1)
    asked = observation["question"]
    assert asked.shape == (3, 128)
    for _ in range(2):
        observation, *_ = env.step({"gaze": np.zeros((3, 1), np.float32), "answer": np.zeros(3, np.int64)})
        np.testing.assert_array_equal(observation["question"], asked)
    assert env.world.write(env.world.answers_of("It is @entity3 .")) == "@entity3"


def test_words_in_other_forms() -> None:
    plain, one_hot = vector(4), wrappers.VectorOneHotWords(vector(4))
    discrete = wrappers.VectorDiscreteWords(vector(4))
    single = wrappers.DiscreteWords(gymnasium.make(CLOZE, **OFFLINE))
    words, answers = len(plain.world.tokens), len(plain.answer_names)
    seen, _ = plain.reset(seed=3)
    vectors, _ = one_hot.reset(seed=3)
    numbers, _ = discrete.reset(seed=3)
    alone, _ = single.reset(seed=3)
    np.testing.assert_array_equal(vectors["question"].argmax(-1), seen["question"])
    assert vectors["question"].shape == (4, 128, words)
    for key in ("retina", "question"):
        np.testing.assert_array_equal(numbers[key], seen[key])
        np.testing.assert_array_equal(alone[key], seen[key][0])
    assert (numbers["said"] == 0).all()
    space: Any = discrete.single_observation_space
    assert space["said"].nvec.tolist() == [answers + 1]
    assert set(space["retina"].nvec) == {words}
    assert single.observation_space.contains(alone)
    assert discrete.observation_space.contains(numbers)


def test_what_was_said_is_shifted_by_one_for_nothing_is_zero() -> None:
    one = wrappers.DiscreteWords(gymnasium.make("Glimpse/Lookup-v0", horizon=2))
    many = wrappers.VectorDiscreteWords(
        gymnasium.make_vec("Glimpse/Lookup-v0", 3, "vector_entry_point", horizon=2)
    )
    assert one.reset(seed=0)[0]["said"].tolist() == [0]
    many.reset(seed=0)
    actions: Any = many.action_space.sample()
    actions["answer"][:] = [4, 0, 7]
    alone = {key: value[0] for key, value in actions.items()}
    for said in ([[0], [0], [0]], [[5], [1], [8]]):  # the second glimpse takes the answer
        assert many.step(actions)[0]["said"].tolist() == said
        assert one.step(alone)[0]["said"].tolist() == said[0]


def scene(*lengths: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Documents and questions of so many words; each document names entities 0, 1 and 2."""
    generator = torch.Generator().manual_seed(0)
    document = torch.zeros(len(lengths), 20, dtype=torch.long)
    question = torch.zeros(len(lengths), 10, dtype=torch.long)
    for row, (n, q) in enumerate(lengths):
        document[row, :n] = torch.randint(10, 60, (n,), generator=generator)
        question[row, :q] = torch.randint(10, 60, (q,), generator=generator)
        document[row, :6] = torch.tensor([2, 12, 3, 2, 13, 4])
        question[row, 0] = 1
    return document, question


def reader_of(reading: ReadingKind, **settings: Any) -> Reader:
    torch.manual_seed(0)
    return ReaderSettings(reading, hidden=12, embedding=8, **settings).build(SPEC).eval()


@every_reading
def test_rows_and_padding_change_nothing_and_absent_entities_score_nothing(reading: ReadingKind) -> None:
    model = reader_of(reading, counts=True)
    document, question = scene((20, 10), (6, 1), (13, 4))
    scores, weights = model.read(document, question)
    assert torch.isfinite(scores).tolist() == [[True] * 3 + [False] * 5] * 3
    for row in range(3):
        alone, looks = model.read(document[row : row + 1], question[row : row + 1])
        torch.testing.assert_close(alone[0], scores[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(looks[0], weights[row], atol=1e-5, rtol=1e-5)
    if reading != "deep_lstm":
        torch.testing.assert_close(weights.sum(1), torch.ones(3))
        assert weights[1, 6:].abs().sum() == 0


def both_ways(layers: Any, words: Tensor) -> Tensor:
    """One text (T, n) read from both ends by stepping each LSTM: (T, 2 half)."""
    ahead, back, state = [], [], layers[0].initial(1)
    for word in words:
        y, state = layers[0](word[None], state)
        ahead.append(y[0])
    state = layers[1].initial(1)
    for word in words.flip(0):
        y, state = layers[1](word[None], state)
        back.append(y[0])
    return torch.cat([torch.stack(ahead), torch.stack(back[::-1])], 1)


@pytest.mark.parametrize("reading", ["attentive", "impatient", "bilinear", "attention_sum"])
def test_readers_are_their_formulas(reading: ReadingKind) -> None:
    model = reader_of(reading)
    document, question = scene((9, 4))
    found, _ = model.read(document, question)
    d = both_ways(model.document, model.words(document[0, :9]))
    q = both_ways(model.question, model.words(question[0, :4]))
    half = d.shape[1] // 2
    u = torch.cat([q[-1, :half], q[0, half:]])
    own = dict(model.named_parameters())

    def attend(query: Tensor) -> Tensor:
        if reading == "attention_sum":
            s = d @ query
        elif reading == "bilinear":
            s = d @ own["alignment.key.weight"].t() @ query
        else:
            inner = d @ own["alignment.key.weight"].t() + own["alignment.query.weight"] @ query
            s = torch.tanh(inner + own["alignment.query.bias"]) @ own["alignment.score.weight"][0]
        return s.softmax(0)

    if reading == "attention_sum":
        p = attend(u)
        expected = torch.stack([p[document[0, :9] == FIRST_ENTITY + e].sum() for e in range(3)]).log()
        torch.testing.assert_close(found[0, :3], expected, atol=1e-5, rtol=1e-5)
        return
    if reading == "impatient":
        r = torch.zeros(12)
        for word in q:
            r = attend(own["asked.weight"] @ torch.cat([r, word])) @ d + torch.tanh(
                own["kept.weight"] @ r + own["kept.bias"]
            )
    else:
        r = attend(u) @ d
    if reading != "bilinear":
        r = torch.tanh(own["joined.weight"] @ torch.cat([r, u]) + own["joined.bias"])
    expected = own["answer.weight"] @ r + own["answer.bias"]
    torch.testing.assert_close(found[0, :3], expected[:3], atol=1e-5, rtol=1e-5)


def test_the_deep_lstm_reads_the_question_first() -> None:
    model = reader_of("deep_lstm")
    document, question = scene((9, 4))
    found, _ = model.read(document, question)
    words = model.words(torch.cat([question[0, :4], document[0, :9]]))
    low_state, high_state = model.layers[0].initial(1), model.layers[1].initial(1)  # type: ignore[operator]
    for word in words:
        low, low_state = model.layers[0](word[None], low_state)
        high, high_state = model.layers[1](torch.cat([word[None], low], 1), high_state)
    expected = model.answer(torch.cat([low, high], 1))
    torch.testing.assert_close(found[0, :3], expected[0, :3], atol=1e-5, rtol=1e-5)


def test_counts_and_places_are_those_of_the_document() -> None:
    model = reader_of("attention_sum", counts=True)
    document, question = scene((11, 3))
    question[0, 2] = FIRST_ENTITY + 1
    seen: list[Tensor] = []
    model.judge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.read(document, question)
    log2 = float(np.log(2))
    expected = [[float(np.log(3)), 0, 0.3, 0], [log2, 0.2, 0.2, 1], [log2, 0.5, 0.5, 0]]
    torch.testing.assert_close(seen[0][0, :3], torch.tensor(expected))


def test_bad_settings_are_named() -> None:
    for wrong, says in (
        ({"reading": "patient"}, "reading must be one of"),
        ({"hidden": 15}, "hidden must be even"),
        ({"dropout": 1.0}, "dropout"),
    ):
        with pytest.raises(ValueError, match=says):
            ReaderSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="asks none in words"):
        ReaderSettings().build(SPEC._replace(question=()))
    for env_id, model, says in (
        ("Glimpse/MNIST-v0", ReaderSettings(), "an agent for texts"),
        (CLOZE, EXPERIMENTS["st-cnn"].model, "an agent for pictures"),
    ):
        learner = Comprehension() if model == ReaderSettings() else EXPERIMENTS["st-cnn"].learner
        env = OFFLINE if env_id == CLOZE else {"dataset": "mnist-5k"}
        experiment = Experiment(env_id, model, learner, Loop(), env=env)
        spec = experiment.spec()
        with pytest.raises(ValueError, match=says):
            experiment.build(spec)


def test_a_reader_learns(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["stories-attention-sum"].but(
        loop={"epochs": 1, "images_per_epoch": 5000, "batch_size": 32, "average": 0.9}
    )
    spec = experiment.spec()
    agent = experiment.build(spec)
    run = Run(tmp_path / "run", to_config("mine", experiment, spec), resume=False, overwrite=False)
    (line,) = experiment.train(run, agent, quiet=True)
    run.close()
    assert line["validation_error"] < 60  # of eight entities, most of them named
    found = experiment.learner.figures(agent.eval(), experiment.task, "validation")["deterministic"]  # type: ignore[union-attr]
    assert found.ci95[0] < found.error < found.ci95[1]
    assert experiment.learner.metric(experiment.task, "deterministic") == "accuracy"  # type: ignore[union-attr]


def test_what_a_reader_attends_to_is_shaded() -> None:
    env = single_env(CLOZE, OFFLINE, split="test")
    reader = ReaderSettings("bilinear", hidden=12, embedding=8).build(spec_of(CLOZE, OFFLINE)).eval()
    *_, view = episode(AgentPlayer(reader), env, 3)
    assert view.attention is not None
    assert view.attention.sum() == pytest.approx(1, abs=1e-5)
    words = int((view.canvas > 0).sum())
    frames = {}
    for place in (0, words - 1):
        attention = np.zeros(64, np.float32)
        attention[place] = 1
        frames[place] = draw_frame(view._replace(attention=attention)).astype(int)
    changed = np.abs(frames[0] - frames[words - 1]).sum(2) > 0
    plain = draw_frame(view._replace(attention=np.zeros(64, np.float32))).astype(int)
    first = np.argwhere(np.abs(frames[0] - plain).sum(2) > 0)
    last = np.argwhere(np.abs(frames[words - 1] - plain).sum(2) > 0)
    assert changed.any()
    assert first.max(0)[0] < last.min(0)[0]  # the first word stands in a line above the last one's


def test_the_eye_has_the_question_in_mind() -> None:
    settings = ReadingAgentSettings(hidden=16, embedding=8, tied=False)
    agent = settings.build(spec_of(CLOZE, OFFLINE)).eval()
    env = make_env(agent, CLOZE, 6, **OFFLINE)
    observation, _ = env.reset(seed=0)
    views = to_tensors(observation)
    first, state = agent(views, agent.initial(6), False)
    other = {**views, "question": views["question"].flip(0)}
    turned, _ = agent(other, agent.initial(6), False)
    assert not torch.allclose(first.logits, turned.logits)
    later, _ = agent(other, state, False)  # it was read at the first glimpse
    same, _ = agent(views, state, False)
    torch.testing.assert_close(later.logits, same.logits)
    learner = Reinforce(objective="variational", sigma_start=0.1)
    experiment = Experiment(CLOZE, settings, learner, Loop(batch_size=6), env=OFFLINE)
    lesson = learner.lesson(agent, experiment.task)
    lesson.batch(list(range(6)), 0.0).loss.backward()
    lesson.close()
    unused = [key for key, weight in agent.named_parameters() if weight.grad is None]
    assert not unused
    with pytest.raises(ValueError, match="taught by Reinforce"):
        agent.replay(*[torch.zeros(0)] * 5)


def test_the_eye_answers_by_the_mentions_that_it_saw() -> None:
    settings = ReadingAgentSettings(hidden=6, embedding=4, tied=False, neighbours=1)
    torch.manual_seed(0)
    agent = settings.build(spec_of(CLOZE, OFFLINE)).eval()
    words = torch.zeros(2, 64, dtype=torch.long)
    a, b, word = FIRST_ENTITY, FIRST_ENTITY + 3, FIRST_ENTITY + ENTITIES + 5
    seen = {10: a, 11: word, 12: b, 40: a}
    words[0, list(seen)] = torch.tensor(list(seen.values()))
    query = torch.randn(2, 6)
    with torch.no_grad():
        found = agent._mentioned(query, words)
        weight, bias = agent.beside.weight, agent.beside.bias
        compare = dict(agent.alignment.named_parameters())["key.weight"]
        score = {}
        for place in seen:
            key = torch.tanh(
                bias
                + sum(
                    weight[:, :, 1 + step] @ agent.words.weight[seen[place + step]]
                    for step in (-1, 0, 1)
                    if place + step in seen
                )
            )
            score[place] = float(torch.exp(query[0] @ (compare @ key)))
    total = sum(score.values())
    expected = np.full(ENTITIES, 1e-4)
    expected[0], expected[3] = (score[10] + score[40]) / total, score[12] / total
    np.testing.assert_allclose(found[0].exp().numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(found[1].exp().numpy(), 1e-4, rtol=1e-5)  # where nothing was seen yet


def write(path: Path, *documents: dict[str, str]) -> str:
    path.write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    return f"file:{path}"


def test_a_file_of_documents(tmp_path: Path) -> None:
    good = {"context": "@entity7 met @entity9 .", "query": "@placeholder was met .", "answer": "@entity9"}
    env: Any = gymnasium.make(CLOZE, dataset=write(tmp_path / "a.jsonl", *[good] * 10), canvas_size=4)
    env.reset(seed=0)
    for change, says in (
        ({"query": "who was met ?"}, "query must have a @placeholder"),
        ({"answer": "@entity1"}, "must be an entity of its context"),
        ({"answer": "met"}, "must be an entity of its context"),
        ({"answer": "@placeholder", "context": "@placeholder met ."}, "must be an entity of its context"),
    ):
        dataset = write(tmp_path / f"{hash(says)}.jsonl", *[good] * 9, {**good, **change})
        with pytest.raises(DatasetError, match=rf"line 10 of .* is no document \(.*{says}"):
            gymnasium.make(CLOZE, dataset=dataset)
    broken = tmp_path / "b.jsonl"
    broken.write_text("\n".join([json.dumps(good)] * 9 + ["{"]), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"line 10 of .* is no document"):
        gymnasium.make(CLOZE, dataset=f"file:{broken}")
    with pytest.raises(DatasetError, match="has 4 words and room for 3"):
        gymnasium.make(CLOZE, dataset=f"file:{tmp_path}/a.jsonl", canvas_size=3)
    with pytest.raises(DatasetError, match="has 2 lines"):
        gymnasium.make(CLOZE, dataset=write(tmp_path / "few.jsonl", good, good))
    line = {**good, "context": "@entity7 met\u2028@entity9 ."}  # which ends no line of a file
    path = tmp_path / "line.jsonl"
    path.write_text("\n".join([json.dumps(line, ensure_ascii=False)] * 10), encoding="utf-8")
    gymnasium.make(CLOZE, dataset=f"file:{path}", canvas_size=5)
    long = {**good, "query": "@placeholder " * 151}
    with pytest.raises(DatasetError, match=r"the question of document 1 .* room for 128: shorten it"):
        gymnasium.make(CLOZE, dataset=write(tmp_path / "long.jsonl", *[long] * 10))
    many = {**good, "context": " ".join(f"@entity{i}" for i in range(70)), "answer": "@entity3"}
    with pytest.raises(DatasetError, match="has 70 entities, and 64 have names"):
        gymnasium.make(CLOZE, dataset=write(tmp_path / "many.jsonl", *[many] * 10))
    with pytest.raises(ValueError, match="did you mean 'stories'"):
        gymnasium.make(CLOZE, dataset="storys")


def test_stories_ask_for_what_they_tell() -> None:
    for document in stories.load("stories", "test")[:300]:
        sentences = [list(s) for _, s in itertools.groupby(document.context, lambda w: w == ".")]
        told = [s for s in sentences if s != ["."]]
        assert len(told) == stories.SENTENCES
        others = [w for w in document.question if stories.is_entity(w) and w != stories.PLACEHOLDER]
        pairs = [tuple(w for w in s if stories.is_entity(w)) for s in told]
        assert any({document.answer, *others} == set(pair) for pair in pairs)


def test_fewer_stories_to_learn_from_are_the_first_ones() -> None:
    assert stories.load("stories:7", "train") == stories.load("stories", "train")[:7]
    assert stories.load("stories:7", "test") == stories.load("stories", "test")
    env = gymnasium.make(CLOZE, dataset="stories:7", canvas_size=64, split="train")
    seen = np.array([env.reset(seed=seed)[0]["question"] for seed in range(200)])
    env.close()
    entity = (seen >= FIRST_ENTITY) & (seen < FIRST_ENTITY + ENTITIES)
    assert len(np.unique(seen, axis=0)) > 7  # for entities are numbered anew
    assert len(np.unique(np.where(entity, FIRST_ENTITY, seen), axis=0)) <= 7
    for wrong in (
        "stories:0",
        "stories:5001",
        "stories:",
        "stories:seven",
        "stories:-1",
        "stories:²",
        "stories:05",
    ):
        with pytest.raises(ValueError, match="a number from 1 to 5000"):
            stories.load(wrong, "train")


def test_a_reader_of_few_stories_is_trained_by_name(tmp_path: Path) -> None:
    tiny = "--epochs 1 --images-per-epoch 8 --batch-size 8 --model.hidden 8 --quiet --folder"
    train.main(["stories-attentive-150", *tiny.split(), str(tmp_path / "run")])
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["env"]["dataset"] == "stories:150"


@needs_data("gum_cloze")
def test_gum_is_what_its_page_says() -> None:
    test = stories.load("gum", "test")
    assert len(test) == 260
    right = {"": 0, "unnamed": 0}
    for document in test:
        for rule in right:
            count = Counter(
                w for w in document.context if stories.is_entity(w) and not (rule and w in document.question)
            )
            most = max(count.values(), default=0)
            named = [w for w in document.context if count[w] == most]  # the last of equals
            right[rule] += bool(named) and named[-1] == document.answer
    assert {rule: round(100 * n / 260, 1) for rule, n in right.items()} == {"": 36.9, "unnamed": 41.9}


def test_gum_that_is_missing_says_where_it_should_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stories._gum.cache_clear()
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="dataset='stories'"):
        stories.load("gum", "test")
    stories._gum.cache_clear()
