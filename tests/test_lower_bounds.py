"""The oldest versions of what environments need: an import, a step, a picture and every wrapper."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
USE = """
import gymnasium, numpy as np
import glimpse_env
from glimpse_env import wrappers
images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
env_id = glimpse_env.register_custom("Low", images, np.arange(60) % 10)
names = "BoxAction GridAction RelativeGaze ScanPath GlimpseHistory WholeCanvas Supervision"
for name in names.split():
    env = getattr(wrappers, name)(gymnasium.make(env_id))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    envs = getattr(wrappers, "Vector" + name)(gymnasium.make_vec(env_id, 3, "vector_entry_point"))
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
for name in ("OneHotWords", "DiscreteWords"):
    lookup = "Glimpse/Lookup-v0"
    getattr(wrappers, name)(gymnasium.make(lookup)).reset(seed=0)
    getattr(wrappers, "Vector" + name)(gymnasium.make_vec(lookup, 3, "vector_entry_point")).reset(seed=0)
env = gymnasium.make(env_id, render_mode="rgb_array")
env.reset(seed=0)
print(env.render().shape, gymnasium.__version__)
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the oldest versions have no wheels for this Python")
def test_the_oldest_declared_versions_work(tmp_path: Path) -> None:
    oldest = [name.replace(">=", "==") for name in PROJECT["dependencies"]]
    assert all("==" in name for name in oldest)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    done = subprocess.run([*pip, *oldest], capture_output=True, text=True)
    if "No matching distribution" in done.stderr and "Connection" in done.stderr:
        pytest.skip("needs a package index, and none can be reached")
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    told = subprocess.run([python, "-c", USE], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("(540, 960, 3) 1.1.")
