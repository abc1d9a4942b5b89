"""The site builds from docs/ and needs nothing from elsewhere, and its tutorials run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.report import tables

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["own-agent", "own-environment", "own-core", "comparing"])
def test_a_tutorial_can_be_pasted_piece_by_piece(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    pieces = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(pieces) >= 3
    known = {"__name__": page}
    for piece in pieces:
        exec(compile(piece, page, "exec"), known)
    if page == "own-agent":
        assert re.search(r"[\d.]+% wrong of 1000 scenes", capsys.readouterr().out)
        assert known["scored"].error < 60  # of ten digits, after half a minute
    if page == "comparing":
        error = float(re.search(r"([\d.]+)% wrong of 1000 test scenes", capsys.readouterr().out)[1])
        assert 86 <= error <= 94  # chance, four standard errors each way
        known["right"][:] = False
        targets = known["envs"].unwrapped

        def told(_):  # who knows the answers has no errors
            return {"gaze": np.zeros((300, 2)), "answer": targets.supervision()["next"] % 10}

        known["policy"] = told
        exec(compile(pieces[1], page, "exec"), known)
        assert known["right"].all()
    if page == "own-core":
        agent = known["agent"]
        seen = {"retina": torch.rand(2, 1, 8, 8), "gaze": torch.zeros(2, 2)}
        step, state = agent(seen, agent.initial(2), False)
        assert step.logits.shape == (2, 10)
        assert torch.equal(state, agent.core(agent.glimpse_network(*seen.values()), None)[0])


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path / "site"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "leaderboard.html", "results/LOG.html", "api/agents.html", "MNIST-v0.html"} <= pages
    for page in pages:
        html = (tmp_path / "site" / page).read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*?\ssrc=\"?([^\s\">]+)", html)
        loaded += re.findall(r"<link rel=\"?stylesheet\"?[^>]*?href=\"?([^\s\">]+)", html)
        assert loaded
        for address in loaded if page != "404.html" else ():  # whose links begin at the root
            assert not re.match(r"(https?:)?//", address), (page, address)
            assert (tmp_path / "site" / page).parent.joinpath(address.partition("?")[0]).exists(), (
                page,
                address,
            )
    assert "ram-mnist" in (tmp_path / "site/leaderboard.html").read_text(encoding="utf-8")


def test_the_leaderboard_has_the_latest_line_of_each_seed_the_best_first():
    def line(name, seed, value):
        return {
            "experiment": name, "env_id": "Glimpse/MNIST-v0", "env": {}, "sees": "glimpses", "seed": seed,
            "metric": "test_error", "value": value, "ci95": [value - 1, value + 1], "mode": "deterministic",
            "share": 0.5, "parameters": 1000,
        }  # fmt: skip

    lines = [
        line("b", 1, 9.0),
        line("a", 1, 3.0),
        line("b", 1, 2.0),
        {**line("c", 1, 1.0), "mode": "sampled"},
    ]
    assert tables.leaderboard(lines).splitlines() == [
        "## MNIST-v0",
        "",
        "| | agent | test error % | sees | of canvas | parameters |",
        "|---:|---|---:|---|---:|---:|",
        "| 1 | b | **2.00** [1.00, 3.00] | glimpses | 50 % | 1,000 |",
        "| 2 | a | **3.00** [2.00, 4.00] | glimpses | 50 % | 1,000 |",
    ]
