"""Every example runs, is short, and prints a share of right answers that so short a training can have."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import gymnasium
import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

from glimpse_env import wrappers

TINY = {  # arguments, and the lowest and highest share of right answers
    "at_random.py": (["--episodes", "1000"], 7, 13),  # chance: 10 % of 1,000, three standard errors
    "in_processes.py": (["--envs", "2", "--episodes", "50"], 1, 22),
    "in_ray_actors.py": (["--batches", "2"], 7, 13),
    # So short a training is chance, give or take what 32 episodes and one habit of 1,000 can: never near 100.
    "plain_ppo.py": (["--updates", "1", "--envs", "32"], 0, 35),
    "with_minari.py": (["--episodes", "60"], 0, 25),
    "with_rllib.py": (["--iterations", "1", "--envs", "32"], 0, 35),
    "with_sb3.py": (["--steps", "900", "--envs", "16"], 3, 35),
    "with_skrl.py": (["--steps", "28", "--envs", "32"], 0, 35),
    "with_tianshou.py": (["--epochs", "1", "--steps", "512"], 3, 20),
    "with_torchrl.py": (["--frames", "450", "--envs", "32"], 0, 35),
}
NEEDS = {  # where it is not the library of its name
    "in_ray_actors.py": ("ray",),
    "with_rllib.py": ("ray", "tree", "lz4", "ormsgpack", "pyarrow", "tensorboardX"),
    "with_sb3.py": ("stable_baselines3",),
}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_example(path: Path, tmp_path: Path) -> None:
    assert len(list(filter(str.strip, path.read_text(encoding="utf-8").splitlines()))) < 60
    arguments, low, high = TINY[path.name]
    library = path.stem.partition("with_")[2]
    # Looked for and not imported, which takes seconds.
    for module in NEEDS.get(path.name, (library,)):
        if module and importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    environ = {**os.environ, "MINARI_DATASETS_PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, path, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
        cwd=tmp_path,
    )
    if library != "minari":
        assert not list(tmp_path.iterdir())  # nothing is left behind
    assert low <= float(re.findall(r"right.*?([\d.]+)%", done.stdout)[-1]) <= high
    if path.name == "in_processes.py":
        assert "the same in one process: True" in done.stdout


@pytest.mark.parametrize("name", ["at_random", "in_processes", "in_ray_actors", "plain_ppo", "with_sb3"])
def test_an_example_refuses_no_episodes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "in_ray_actors":
        pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
    option, value = {"plain_ppo": ("--updates", "-3"), "with_sb3": ("--envs", "0")}.get(name, ("", "0"))
    option = option or {"in_ray_actors": "--actors"}.get(name, "--episodes")
    path = ROOT / "examples" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), option, value])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err


def test_the_tour_runs_from_its_first_cell_to_its_last() -> None:
    tour = nbformat.read(ROOT / "examples" / "tour.ipynb", 4)
    cells = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert len(cells) == 10
    kept = [output.get("text", "") for cell in cells for output in cell.outputs]
    assert any("wrong [" in text for text in kept)  # what it printed is there to be read
    cells[3].source = (
        cells[3]
        .source.replace("epochs = 10", "epochs = 1")
        .replace('"batch_size": 64', '"batch_size": 64, "images_per_epoch": 640')
    )
    NotebookClient(tour, timeout=60, resources={"metadata": {"path": str(ROOT)}}).execute()
    printed = "".join(output.get("text", "") for output in cells[6].outputs)
    assert len(re.findall(r"gaze: \d+\.\d % wrong \[\d+\.\d, \d+\.\d\]", printed)) == 2
    page = cells[8].outputs[-1]
    assert "learned gaze" in page.data["text/html"]


def test_torchrl_refuses_an_env_that_resets_in_its_next_step() -> None:
    """As docs/libraries.md says."""
    torchrl_envs = pytest.importorskip("torchrl.envs")
    made = gymnasium.make_vec("Glimpse/MNIST-v0", 2, dataset="mnist-5k", autoreset_mode="NextStep")
    with pytest.raises(RuntimeError, match="auto-reset mode must be one of SAME_STEP or DISABLED"):
        torchrl_envs.GymWrapper(wrappers.VectorBoxAction(made)).rollout(3)
