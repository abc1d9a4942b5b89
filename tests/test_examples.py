"""Every example runs, is short, and does what its first line says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

TINY = {
    "at_random.py": (["--episodes", "1000"], 7, 13),  # chance: 10 % of 1,000, three standard errors
    # So short a training is chance, give or take what 32 episodes and one habit of 1,000 can: never near 100.
    "plain_ppo.py": (["--updates", "2", "--envs", "32"], 0, 35),
    "with_sb3.py": (["--steps", "900", "--envs", "16"], 3, 35),
    "with_torchrl.py": (["--frames", "900", "--envs", "32"], 0, 35),
}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_example(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    arguments, low, high = TINY[path.name]
    if path.name == "with_torchrl.py":
        pytest.importorskip("torchrl", reason="TorchRL is not installed")
    done = subprocess.run([sys.executable, path, *arguments], capture_output=True, text=True, check=True)
    (share,) = re.findall(r"right.*?([\d.]+)%", done.stdout.splitlines()[-1])
    assert low <= float(share) <= high
