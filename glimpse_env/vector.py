"""GlimpseVectorEnv: many episodes at once, and the only dynamics of the project.

Reading order of a step: `_check_action`, then `tasks.advance` (time, gaze, answer, reward), then
`_observe` (the retina). An episode starts in `_begin` (a scene, what the sensor takes in, a first gaze).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from glimpse_env import checks, random, tasks
from glimpse_env.data import files
from glimpse_env.scores import chrf
from glimpse_env.sensors.retina import Retina, writable
from glimpse_env.sensors.words import WordWindow
from glimpse_env.worlds.choose import Captioned, Scored, World, make_world
from glimpse_env.worlds.cloze import QUESTION_PLACES, ClozeWorld
from glimpse_env.worlds.digits import DigitWorld
from glimpse_env.worlds.houses import HouseWorld
from glimpse_env.worlds.numbers import NumberWorld
from glimpse_env.worlds.scene import NO_AUGMENTATION, Augmentation, Drawn, Scenes
from glimpse_env.worlds.sentences import SentenceWorld

if TYPE_CHECKING:
    from glimpse_env.render import Layout, View
    from glimpse_env.render.pen import Window

Observation = dict[str, NDArray[Any]]
Info = dict[str, Any]

START_GAZES = ("center", "begin", "random", "blind")
RENDER_MODES = ["human", "rgb_array"]
RENDER_FPS = 3
HORIZON, MAX_HORIZON = 7, 10_000


class GlimpseVectorEnv(VectorEnv[Observation, dict[str, Any], NDArray[Any]]):
    """`num_envs` glimpse episodes, stepped together; row i equals a single env of the same seed.

    Observation, fresh float32 arrays: `retina` (B, scales * C, retina_size, retina_size) in [0, 1], `gaze`
    (B, 2) in [-1, 1], `time` (B, 1), the share of the glimpses seen so far, in (0, 1], and with `context`
    the whole canvas at low resolution, (B, C, context, context) in [0, 1]. Of a text, `retina` is int64 (B,
    retina_size) word ids, 0 outside, `gaze` (B, 1), and with `context` (True) the whole text is there, (B,
    canvas_size). Of texts and captions, `said` is int64 (B, 1), the previous answer, -1 before the first;
    where a question is asked, `question` is int64 (B, 128). Action: `gaze` (B, 2), or (B, 1), in [-1, 1],
    clipped to the canvas; `answer` (B,), an index into `answer_names`. `reset` shows glimpse 1; each step
    moves the gaze and, after every horizon / L glimpses, takes one of the task's L answers. The last one
    ends the episode; `info` then holds `target` and `correct`.

    scene: "digits" lays one or two of `dataset`'s images out at random among `distractors`; "houses"
    fills SVHN's layouts; "lookup" is a text of canvas_size numbers, the first of which says where the
    answer stands; "numbers" asks for the German name of a number whose English one is read; "sentences"
    asks for the other side of `dataset`'s pairs, `pair` saying from which language into which, `units` in
    what both are written; "trees" asks for a sentence's parse tree, symbol by symbol; "documents" asks
    which entity a question about a document leaves out; "captions" asks for a sentence about a picture.
    distractor_size: the side of a distractor, in pixels. task, backward: see `tasks`. horizon: glimpses in
    all; glimpses_per_answer, if given, sets it to that many for each of the task's answers. early_answer:
    one more answer, "look", keeps looking, any other counts at once, and an episode that runs out of
    glimpses earns nothing more. reward: "terminal" pays 1 at the end if every answer is right,
    "per_answer" 1 for each right one up to the first wrong one, "score" at the end how good a sentence or
    a tree is, from 0 to 1 (`world.score`); step_cost is paid for each step. relative_gaze: the action's
    gaze is a displacement. start_gaze: "center"; "begin", the first pixel or word; "random", which is a
    function of the scene; or "blind", the centre with the eye shut: glimpse 1 counts but its retina is
    black, and the agent chooses where to see first. difficulty, jitter, distortion, distortion_share: of
    training scenes, see `worlds.digits.draw_scenes`. constant_info: whether `info` has `target` and
    `correct` at every step, -1 and False until they are known, as libraries want that record it.
    max_episode_steps, autoreset_mode, render_mode: Gymnasium's own, the first after how many steps an
    episode is truncated.

    Raises ValueError for an unknown keyword or one out of range and DatasetError for missing data.
    """

    _window: Window | None = None  # Gymnasium closes also what could not be made

    def __init__(
        self,
        num_envs: int = 1,
        *,
        scene: str = "digits",
        task: str = "classify",
        backward: bool = False,
        dataset: str = "mnist",
        pair: str = "",
        units: str = "pieces",
        split: str = "train",
        canvas_size: int = 28,
        digits: int = 1,
        distractors: int = 0,
        distractor_size: int = 8,
        retina_size: int = 8,
        scales: int = 1,
        context: int = 0,
        horizon: int = HORIZON,
        glimpses_per_answer: int | None = None,
        early_answer: bool = False,
        reward: str = "terminal",
        step_cost: float = 0.0,
        relative_gaze: bool = False,
        start_gaze: str = "center",
        difficulty: float = 1.0,
        jitter: int = 0,
        distortion: float = 0.0,
        distortion_share: float = 1.0,
        constant_info: bool = False,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        checks.keywords(unknown, (*KEYWORDS, "num_envs", "autoreset_mode"), "a Glimpse environment")
        self.num_envs = num_envs = checks.integer("num_envs", num_envs, 1)
        canvas_size, digits, retina_size, scales, context = map(
            checks.plain, (canvas_size, digits, retina_size, scales, context)
        )
        if not isinstance(dataset, str):
            raise ValueError(f"dataset must be a name, as 'mnist-5k' or 'folder:PATH', got {dataset!r}")
        self.dataset, self.split = files.whole_name(dataset), checks.choice("split", split, random.SPLITS)
        self.world: World = make_world(
            scene, self.split, dataset=self.dataset, pair=pair, units=units, canvas_size=canvas_size,
            scales=scales, backward=backward, digits=digits, distractors=distractors,
            distractor_size=distractor_size, jitter=jitter, distortion=distortion,
            distortion_share=distortion_share,
        )  # fmt: skip
        self.task = tasks.make_task(
            task, self.world.names, self.world.max_digits, self.world.lengths_vary, backward
        )
        self.early_answer = checks.flag("early_answer", early_answer)
        self.answer_names = self.task.answers + ((tasks.KEEP_LOOKING,) if early_answer else ())
        self.horizon = checks.integer("horizon", horizon, 1, MAX_HORIZON)
        if glimpses_per_answer is not None:
            share = checks.integer("glimpses_per_answer", glimpses_per_answer, 1)
            self.horizon = share * self.task.length
            if self.task.length > MAX_HORIZON:
                raise ValueError(
                    f"{self.task.length} answers are too many for the {MAX_HORIZON} glimpses that an episode "
                    "may have: choose shorter texts, or a smaller canvas_size of trees"
                )
            if self.horizon > MAX_HORIZON:
                raise ValueError(
                    f"glimpses_per_answer must be at most {MAX_HORIZON // self.task.length} for "
                    f"{self.task.length} answers, got {share}"
                )
        if self.horizon % self.task.length:
            raise ValueError(
                f"horizon must be a multiple of the task's {self.task.length} answers, got {horizon}: "
                "or set glimpses_per_answer"
            )
        self.sensor: Retina | WordWindow
        if isinstance(self.world, DigitWorld | HouseWorld | Captioned):
            self.sensor = Retina(
                num_envs, self.world.canvas_shape, retina_size, scales, context, self.horizon
            )
        else:
            kept = 8 * self.world.canvas_shape[0] + 40 * self.world.max_digits
            checks.rows_fit(num_envs, kept + 24 * self.task.length + 4 * self.horizon)
            whole = bool(context if isinstance(context, bool) else checks.integer("context", context, 0, 1))
            self.sensor = WordWindow(self.world.canvas_shape[0], len(self.world.tokens), retina_size, whole)
        self.reward = checks.choice("reward", reward, tasks.REWARDS)
        if reward == "score":
            if not isinstance(self.world, Scored):
                raise ValueError(
                    f"reward 'score' is of sentences, and scene {scene!r} has none: use 'terminal', or "
                    "'per_answer'"
                )
            if isinstance(self.world, NumberWorld | SentenceWorld):
                chrf("", [""])  # raises now, and not after an episode, where the library is missing
        self.step_cost = checks.number("step_cost", step_cost, 0)
        self.relative_gaze = checks.flag("relative_gaze", relative_gaze)
        self.start_gaze = checks.choice("start_gaze", start_gaze, START_GAZES)
        self.difficulty = difficulty
        self.jitter = checks.integer("jitter", jitter, 0, self.world.canvas_shape[-1])
        self.distortion = checks.number("distortion", distortion, 0, 0.99)
        self.distortion_share = checks.number("distortion_share", distortion_share, 0, 1)
        self.constant_info = checks.flag("constant_info", constant_info)
        if max_episode_steps is not None:
            max_episode_steps = checks.integer("max_episode_steps", max_episode_steps, 1)
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = checks.autoreset_mode(autoreset_mode)
        self.render_mode = (
            None if render_mode is None else checks.choice("render_mode", render_mode, RENDER_MODES)
        )
        self.metadata = {
            "render_modes": RENDER_MODES,
            "render_fps": RENDER_FPS,
            "autoreset_mode": self.autoreset_mode,
        }
        axes = (self.sensor.axes,)
        views: dict[str, gymnasium.Space[Any]] = {
            **self.sensor.spaces(),
            "gaze": Box(-1.0, 1.0, axes, np.float32),
            "time": Box(0.0, 1.0, (1,), np.float32),
        }
        if isinstance(self.world, ClozeWorld):
            views["question"] = Box(0, len(self.world.tokens) - 1, (QUESTION_PLACES,), np.int64)
        self._says = bool(self.world.tokens) or isinstance(self.world, Captioned)
        if self._says:
            views["said"] = Box(tasks.NO_ANSWER, len(self.answer_names) - 1, (1,), np.int64)
        self.single_observation_space = Dict(views)
        self.single_action_space = Dict(
            gaze=Box(-1.0, 1.0, axes, np.float32), answer=Discrete(len(self.answer_names))
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._key: NDArray[np.uint64] | None = None
        self._episode = np.zeros(num_envs, np.int64)
        symbols = self.world.max_digits
        ways = self.world.ways if isinstance(self.world, Captioned) else 0
        self._drawn = Drawn(
            np.zeros((num_envs, *self.world.canvas_shape), self.world.dtype),
            np.zeros((num_envs, symbols), np.int64),
            np.zeros((num_envs, symbols, 4), np.int64),
            np.zeros((num_envs, self.sensor.axes), np.float32),
            np.zeros((num_envs, QUESTION_PLACES if "question" in views else 0), np.int64),
            np.zeros((num_envs, ways, symbols), np.int64),
            np.full(num_envs, -1, np.int64),
        )
        self._target = np.zeros((num_envs, self.task.length), np.int64)
        self._ways = np.zeros((num_envs, max(ways, 1), self.task.length), np.int64)
        self._boxes = self._drawn.boxes
        self._time = np.zeros(num_envs, np.int64)
        self._gaze = np.zeros((num_envs, self.sensor.axes), np.float32)
        self._path = np.zeros((num_envs, self.horizon, self.sensor.axes), np.float32)
        self._answers = np.full((num_envs, self.task.length), tasks.NO_ANSWER, np.int64)
        self._given = np.zeros(num_envs, np.int64)
        self._agrees = np.zeros(self._ways.shape[:2], np.bool_)
        self._done = np.ones(num_envs, np.bool_)
        self._any_done = True
        self._ended = np.zeros(num_envs, np.bool_)
        self.belief: NDArray[np.float32] | None = None

    @property
    def num_scenes(self) -> int:
        """How many frozen scenes the split has."""
        return self.world.num_scenes

    @property
    def difficulty(self) -> float:
        """The training curriculum, in [0, 1]: 1 is the task itself, less centres digits and thins clutter.

        It holds for episodes that begin after it is set; frozen scenes are always the task itself.
        """
        return self._difficulty

    @difficulty.setter
    def difficulty(self, value: float) -> None:
        if not isinstance(self.world, DigitWorld | HouseWorld):
            checks.left_out(
                "difficulty", value, 1, "scenes of texts and captions are as difficult as they are"
            )
        self._difficulty = checks.number("difficulty", value, 0, 1)

    # -- the loop ------------------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, Info]:
        """Start new episodes: in all rows, or in those where options["reset_mask"], bool (B,), is true.

        seed: an int seeds row i with seed + i; a list of B ints or None seeds each row.
        options["index"]: an int, giving row i the frozen scene index + i of the split, or one int a row.
        Raises ValueError or TypeError for a seed or an option of another shape, type or range.
        """
        seeds = None if seed is None else checks.seeds(seed, self.num_envs)
        options = checks.reset_options(options)
        rows = checks.reset_mask(options.get("reset_mask"), self.num_envs)
        if self._key is None and not rows.all():
            raise ResetNeeded("the first reset must begin every row: leave out options['reset_mask']")
        index, indices = options.get("index"), None
        if index is not None:
            indices = checks.scene_indices(index, rows, self.num_scenes, self.split)
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
        self._seed(seeds, rows)
        if isinstance(seed, list | tuple):  # Gymnasium's own vector envs tell the seed of every row
            self._np_random_seed = tuple(seeds or ())  # type: ignore[assignment]  # one seed, it says
        self._begin(rows, indices)
        if self.render_mode == "human":
            self.render()
        return self._observe(), self._info(np.zeros(self.num_envs, np.bool_))

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Move every gaze and take the answers that are due; the last one ends a row's episode.

        The class says the shapes. Raises ValueError for a bad action, and ResetNeeded if a row has no
        episode: none was begun, or with AutoresetMode.DISABLED it has ended. Nothing has changed then.
        """
        gaze, answer = self._check_action(actions)
        resetting = self._done
        if self._any_done:
            if self._key is None or self.autoreset_mode is not AutoresetMode.NEXT_STEP:
                raise ResetNeeded(f"call reset first: row {int(self._done.argmax())} has no episode")
            self._begin(resetting, None)
        reward = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, np.bool_)
        tasks.advance(
            resetting, gaze, answer, self._ways, self.task.end,
            len(self.answer_names) - 1 if self.early_answer else -1,
            self.horizon, self.relative_gaze, self.reward == "terminal", self.reward == "per_answer",
            self.step_cost,
            self._time, self._gaze, self._path, self._answers, self._given, self._agrees,
            reward, terminated,
        )  # fmt: skip
        truncated = self._truncate(resetting, terminated)
        self._done = terminated | truncated
        self._ended = terminated
        self._any_done = bool(self._done.any())
        if self.reward == "score":  # last: people interrupt what takes long, and episodes have ended by then
            self._pay_score(reward, terminated)
        info = self._info(terminated)
        if self.render_mode == "human":
            self.render()
        observation = self._observe()
        if self._any_done and self.autoreset_mode is AutoresetMode.SAME_STEP:
            info = self._final(observation, info)
            self._begin(self._done, None)
            observation, info = self._observe(), {**self._info(np.zeros_like(terminated)), **info}
        return observation, reward, terminated, truncated, info

    def _begin(self, rows: NDArray[np.bool_], indices: NDArray[np.int64] | None) -> None:
        """Start an episode in every row of `rows`: a drawn scene, or the frozen scenes `indices` (B,)."""
        if indices is None:
            self._episode[rows] += 1
            assert self._key is not None
            keys, episodes = self._key, self._episode
            aids = Augmentation(self.difficulty, self.jitter, self.distortion, self.distortion_share)
            indices = np.full(self.num_envs, -1, np.int64)
        else:
            keys, episodes = random.frozen_keys(self.split, self.num_envs), indices
            aids = NO_AUGMENTATION
        self.world.draw(rows, keys, episodes, indices, aids, self._drawn)
        symbols, self._boxes = self.task.in_order(self._drawn.symbols, self._drawn.boxes)
        self._target[rows] = self.task.targets(symbols[rows])
        if self._drawn.ways.size:
            ways = self._drawn.ways[rows]
            self._ways[rows] = self.task.targets(ways.reshape(-1, ways.shape[2])).reshape(*ways.shape[:2], -1)
            self._ways[rows] = np.where(ways[..., :1] >= 0, self._ways[rows], tasks.NO_ANSWER)
        else:
            self._ways[rows, 0] = self._target[rows]
        self.sensor.prepare(rows, self._drawn.canvas)
        if self.start_gaze == "random":
            self._gaze[rows] = self._drawn.start_gaze[rows]
        else:
            self._gaze[rows] = -1.0 if self.start_gaze == "begin" else 0.0
        self._path[rows, 0] = self._gaze[rows]
        self._time[rows] = 1
        self._answers[rows] = tasks.NO_ANSWER
        self._given[rows] = 0
        self._agrees[rows] = self._ways[rows, :, 0] >= 0
        self._done = self._done & ~rows
        self._ended = self._ended & ~rows
        self._any_done = bool(self._done.any())
        self.belief = None

    def _observe(self) -> Observation:
        seen = self.sensor.look(self._drawn.canvas, self._gaze)
        if self.start_gaze == "blind":
            seen["retina"][self._time == 1] = 0
        time = (self._time / self.horizon).astype(np.float32)
        observation: Observation = {**seen, "gaze": self._gaze.copy(), "time": time[:, None]}
        if self._drawn.question.size:
            observation["question"] = self._drawn.question.copy()
        if self._says:
            last = np.take_along_axis(self._answers, np.maximum(self._given - 1, 0)[:, None], 1)
            observation["said"] = np.where(self._given[:, None] > 0, last, tasks.NO_ANSWER)
        return observation

    def _pay_score(self, reward: NDArray[np.float64], terminated: NDArray[np.bool_]) -> None:
        """Add to the reward of every row that has said all of its sentence how good it is."""
        assert isinstance(self.world, Scored)
        last = np.take_along_axis(self._answers, np.maximum(self._given - 1, 0)[:, None], 1)[:, 0]
        whole = terminated & (self._given > 0) & ((last == self.task.end) | (self._given == self.task.length))
        for row in np.flatnonzero(whole):  # the library that scores takes one sentence at a time
            said, *ways = (
                [int(i) for i in answers if i >= 0 and i != self.task.end][:: -1 if self.task.backward else 1]
                for answers in (self._answers[row], *self._ways[row])
            )
            reward[row] += self.world.score(said, [way for way in ways if way])

    def _truncate(self, resetting: NDArray[np.bool_], terminated: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows cut off by `max_episode_steps`, as Gymnasium's TimeLimit does to a single env."""
        if self.max_episode_steps is None:
            return np.zeros(self.num_envs, np.bool_)
        steps = self._time - 1 + terminated
        return ~resetting & (steps >= self.max_episode_steps)

    def _info(self, terminated: NDArray[np.bool_]) -> Info:
        if not (self.constant_info or terminated.any()):
            return {}
        correct = terminated & self._agrees.any(1)
        target = np.where(terminated[:, None], self._target, -1 if self.constant_info else 0)
        return {
            "target": target[:, 0] if self.task.length == 1 else target,
            "_target": terminated | self.constant_info,
            "correct": correct,
            "_correct": terminated | self.constant_info,
        }

    def _final(self, observation: Observation, info: Info) -> Info:
        """Gymnasium's same-step info: the last observation and info of the episodes that just ended."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(self._done):  # Gymnasium asks for one dict a row; there is no batched form
            final_obs[row] = {key: value[row] for key, value in observation.items()}
        final_info = {}
        for key, value in info.items():
            final_info[key] = np.zeros_like(value)
            final_info[key][self._done] = value[self._done]
        return {
            "final_obs": final_obs,
            "_final_obs": self._done.copy(),
            "final_info": final_info,
            "_final_info": self._done.copy(),
        }

    # -- what comes in ---------------------------------------------------------------------------------

    def _check_action(self, actions: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        gaze, answer = checks.action(actions, (self.num_envs,), self.sensor.axes)
        problem = tasks.find_bad_action(gaze, answer, len(self.answer_names))
        if problem is not None:
            raise ValueError(problem)
        return gaze, answer

    def _seed(self, seeds: list[int | None] | None, rows: NDArray[np.bool_]) -> None:
        """Give every seeded row of `rows` its key; the first reset without a seed draws random ones."""
        if self._key is None:
            self._key = self.np_random.integers(0, 2**63, self.num_envs, dtype=np.uint64)
        if seeds is None:
            return
        given = rows & np.array([value is not None for value in seeds])
        values = np.array([(value or 0) % 2**64 for value in seeds], np.uint64)
        self._key = np.where(given, random.row_keys(values), self._key)
        self._episode[given] = -1  # the episode about to begin is number 0

    # -- what others may know ---------------------------------------------------------------------------

    @property
    def gaze(self) -> NDArray[np.float32]:
        """Where every row looks now: a copy, (B, axes)."""
        return self._gaze.copy()

    @property
    def seen(self) -> NDArray[np.int64]:
        """How many glimpses every row has seen, the present one included: a copy, (B,)."""
        return self._time.copy()

    def present_scenes(self) -> Scenes:
        """The present scenes, whole and with their targets, as copies."""
        target, boxes = self._target.copy(), self._boxes.copy()
        return Scenes(
            self._drawn.canvas.copy(),
            target[:, 0] if self.task.length == 1 else target,
            boxes[:, 0] if self.world.max_digits == 1 else boxes,
        )

    def canvas(self) -> NDArray[Any]:
        """The present canvases, whole and fresh: float32 (B, C, H, W) in [0, 1], or word ids (B, N)."""
        whole: NDArray[Any] = self.sensor.whole(self._drawn.canvas)
        return whole

    def supervision(self) -> dict[str, NDArray[np.int64]]:
        """What teaches: `target` (B, L), padded with -1, `next` (B,), the answer to be said next or -1 if
        there is none, `due` (B,), 1 where the coming step takes it, and `boxes` (B, K, 4), as copies.
        """
        length = self.task.length
        place = np.minimum(self._given, length - 1)[:, None]
        following = np.take_along_axis(self._target, place, 1)[:, 0]
        following[(self._given >= length) | self._done] = tasks.NO_ANSWER
        due = self._time % (self.horizon // length) == 0
        if self.early_answer:
            due[:] = True
        due &= ~self._done  # the coming step takes none, but begins another episode
        return {
            "target": self._target.copy(),
            "next": following,
            "due": due.astype(np.int64),
            "boxes": self._boxes.copy(),
        }

    @property
    def items(self) -> NDArray[np.int64]:
        """Which captioned picture or tree of the split every row shows, -1 for none: a copy, (B,)."""
        return self._drawn.item.copy()

    @property
    def ways(self) -> NDArray[np.int64]:
        """All that may rightly be said in every row, each padded with -1: a copy, (B, R, L)."""
        return self._ways.copy()

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The attribute `name`, or what it returns if it is a method, once for every row: all share it."""
        found = getattr(self, name)
        return (found(*args, **kwargs) if callable(found) else found,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """The attribute `name`, once for every row: all share it."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of all rows, from one value or B equal ones; ValueError for others."""
        if isinstance(values, list | tuple):
            if len(values) != self.num_envs or not all(_same(value, values[0]) for value in values):
                raise ValueError(f"all rows share {name}: give one value, or {self.num_envs} equal ones")
            values = values[0]
        setattr(self, name, values)

    # -- what people see -------------------------------------------------------------------------------

    def path(self, row: int) -> NDArray[np.float32]:
        """The gazes of episode `row` so far, the first included: a copy, (t, axes)."""
        return self._path[row, : self._time[row]].copy()

    def view(self, row: int) -> View:
        """What there is to draw of episode `row`: arrays are copies, belief is None until one is set."""
        from glimpse_env.render import View  # pygame loads when something is drawn

        return View(
            canvas=self._drawn.canvas[row].copy(),
            path=self.path(row),
            retina_size=self.sensor.size,
            scales=self.sensor.scales,
            horizon=self.horizon,
            answer_names=self.answer_names,
            belief=None if self.belief is None else np.array(self.belief[row]),
            answers=tuple(self._answers[row, : self._given[row]].tolist()),
            target=self._right(row) if self._ended[row] else None,
            blind=self.start_gaze == "blind",
            context=self.sensor.coarse(row),
            tokens=self.world.tokens,
            question=self._drawn.question[row].copy(),
            says=isinstance(self.world, Captioned),
            end=self.task.end,
        )

    def _right(self, row: int) -> tuple[int, ...]:
        """What is right in a row: of several ways that which was said, else that which teaches."""
        said = self._agrees[row]
        way = self._ways[row, said.argmax()] if said.any() else self._target[row]
        return tuple(answer for answer in way.tolist() if answer >= 0)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Frames uint8 (H, W, 3), one a row ("rgb_array"), or None after showing them tiled ("human").

        Raises ResetNeeded before the first reset.
        """
        from glimpse_env.render import draw_frame, tile
        from glimpse_env.render.pen import Window

        if self.render_mode is None:
            gymnasium.logger.warn("render() needs render_mode='rgb_array' or 'human' at make")
            return None
        if self._key is None:
            raise ResetNeeded("call reset before render")
        layout: Layout = "full" if self.num_envs == 1 else "strip"
        frames = tuple(draw_frame(self.view(row), layout) for row in range(self.num_envs))
        if self.render_mode == "rgb_array":
            return frames
        if self._window is None:
            self._window = Window("glimpse_env", self.metadata["render_fps"])
            self.closed = False  # else Gymnasium's close would leave this window open
        self._window.show(tile(frames))
        return None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Some ways of unpickling, as Ray's, give arrays that cannot be written: those become copies."""
        own = {key: writable(value) for key, value in state.items()}
        own["_drawn"] = Drawn(*map(writable, own["_drawn"]))
        own["_boxes"] = own["_boxes"] if own["task"].backward else own["_drawn"].boxes
        self.__dict__.update(own)


def _same(one: Any, other: Any) -> bool:
    """Whether two values of an attribute are one: arrays are by what they hold."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


_OWN = {"self", "num_envs", "autoreset_mode", "unknown"}
KEYWORDS = tuple(name for name in inspect.signature(GlimpseVectorEnv.__init__).parameters if name not in _OWN)
