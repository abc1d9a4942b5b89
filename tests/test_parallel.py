"""Training in several processes: the same as in one, whoever dies."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import train
from torch import distributed, nn

from agents import parallel
from agents.experiments import EXPERIMENTS
from agents.learn import checkpoint
from agents.learn.generative import bound

ROOT = Path(__file__).parents[1]
SMALL = "ram-mnist --env dataset=mnist-5k --batch-size 32 --no-bfloat16 --quiet --model.hidden 32"


def start(arguments, rank=None, ranks=2, port=0):
    """scripts/train.py in a process, as torchrun starts it if there is a rank."""
    told = {}
    if rank is not None:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1"}
        told["MASTER_PORT"] = port
    return subprocess.Popen(
        [sys.executable, "scripts/train.py", *arguments.split()],
        cwd=ROOT,
        env={**os.environ, **{key: str(value) for key, value in told.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_of(process):
    """Its exit status and what it said of errors."""
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def weights_of(folder):
    return checkpoint.load(folder / "last.safetensors")[0]


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for key in wanted:  # sums in another order, which Adam divides by the square root of almost nothing
        torch.testing.assert_close(found[key], wanted[key], rtol=0, atol=1e-3, msg=key)


def test_two_ranks_train_as_one_and_a_rank_that_dies_ends_the_other(tmp_path):
    arguments = f"{SMALL} --epochs 4 --images-per-epoch 256"
    port, folder = free_port(), tmp_path / "two"
    first, second = (start(f"{arguments} --folder {folder}", rank, port=port) for rank in range(2))
    while not (folder / "last.safetensors").exists() and first.poll() is None:
        time.sleep(0.05)
    second.kill()
    end_of(second)
    status, err = end_of(first)
    assert status == 1, err
    assert "another rank has ended" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 2  # c10d may add one of its own
    done = len((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    assert 1 <= done < 4
    shutil.copytree(folder, tmp_path / "one")
    train.main([*arguments.split(), "--folder", str(tmp_path / "one"), "--resume"])
    port = free_port()
    ranks = [start(f"{arguments} --folder {folder} --resume", rank, port=port) for rank in range(2)]
    assert [end_of(rank) for rank in ranks] == [(0, "")] * 2
    train.main([*arguments.split(), "--folder", str(tmp_path / "alone")])
    assert_same(weights_of(tmp_path / "one"), weights_of(tmp_path / "alone"))
    assert_same(weights_of(folder), weights_of(tmp_path / "alone"))


def test_torchrun_starts_it_and_one_process_writes(tmp_path):
    arguments = f"{SMALL} --epochs 1 --images-per-epoch 64 --folder {tmp_path}/run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "--master-port", str(free_port()), "scripts/train.py", *arguments.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best on validation") == 1
    assert {path.name for path in (tmp_path / "run").glob("*")} == {
        "config.json", "metrics.jsonl", "last.safetensors", "best.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (f"{SMALL} --batch-size 33", "a batch_size of 33 cannot be shared among 2 ranks"),
        ("ppo-mnist --env dataset=mnist-5k", "PPOLearner trains in one process: leave torchrun out"),
    ],
)
def test_what_cannot_be_shared_is_said(monkeypatch, tmp_path, arguments, told):
    as_rank(monkeypatch, 0, 2, 0)
    with pytest.raises(ValueError, match=told):
        train.main([*arguments.split(), "--folder", str(tmp_path / "run")])
    assert not list(tmp_path.glob("run/*.safetensors"))


def test_ranks_that_cannot_meet_say_so(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, err = end_of(start(f"{SMALL} --folder {tmp_path}/run", 0, port=port))
    assert status == 1
    assert f"train.py, rank 0: the ranks cannot meet at 127.0.0.1:{port} (" in err
    assert "another rank has ended" not in err
    assert not (tmp_path / "run").exists()


def as_rank(monkeypatch, rank, ranks, number):
    """What a process with that rank sees, without another one."""
    monkeypatch.setattr(parallel, "_drawn", torch.Generator())
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "get_world_size", lambda: ranks)
    parallel.seed(number)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_noise_of_all_ranks_is_that_of_one_process(monkeypatch, ranks):
    torch.manual_seed(5)
    whole = torch.randn(6, 2), torch.rand(6, 2), torch.randn(6, 2)
    parts = []
    for rank in range(ranks):
        as_rank(monkeypatch, rank, ranks, 5)
        own = torch.empty(6 // ranks, 2)
        parts.append((parallel.randn_like(own), parallel.rand_like(own), parallel.randn_like(own)))
    for drawn, wanted in zip(zip(*parts, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(drawn), wanted)


def test_what_only_this_rank_draws_differs_between_ranks_and_scoring_is_one_process_own(monkeypatch):
    drawn = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2, 5)
        drawn.append(torch.rand(4))
    assert not torch.equal(*drawn)
    with torch.inference_mode():
        torch.manual_seed(7)
        scored = parallel.randn_like(torch.empty(3))
    torch.manual_seed(7)
    assert torch.equal(scored, torch.randn(3))


def test_the_bound_that_chooses_is_that_of_one_process(monkeypatch):
    experiment = EXPERIMENTS["draw-mnist"].but(env={"dataset": "mnist-5k"}, model={"steps": 2, "hidden": 8})
    model = experiment.build(experiment.spec())
    alone = bound(model, experiment.env_id, experiment.env, "validation", True, scenes=20)
    as_rank(monkeypatch, 0, 2, 5)
    assert bound(model, experiment.env_id, experiment.env, "validation", True, scenes=20) == alone


def test_rows_and_gradients_are_shared(monkeypatch):
    as_rank(monkeypatch, 1, 2, 0)
    assert parallel.own(list(range(8))) == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="a batch_size of 7 cannot be shared among 2 ranks"):
        parallel.share_of(7)
    model = nn.ParameterList([torch.zeros(2), torch.zeros(3), torch.zeros(1)])
    model[0].grad, model[2].grad = torch.tensor([1.0, 2.0]), None

    def add_the_other_rank(flat):
        flat += torch.cat([torch.tensor([1.0, 1, 0]), torch.tensor([3.0, 4, 6, 6, 6, 0])])

    monkeypatch.setattr(distributed, "all_reduce", add_the_other_rank)
    parallel.average_gradients(model)
    assert model[0].grad.tolist() == [2, 3]
    assert model[1].grad.tolist() == [3, 3, 3]  # which the other rank alone used
    assert model[2].grad is None


def test_gradients_that_are_shared_lie_as_their_weights_do(monkeypatch):
    """Fused AdamW goes through both as they lie in memory."""
    as_rank(monkeypatch, 0, 2, 0)
    monkeypatch.setattr(distributed, "all_reduce", lambda flat: flat.mul_(2))  # the other rank has the same
    torch.manual_seed(0)
    net = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    net(torch.randn(2, 3, 6, 6)).square().sum().backward()
    alone = net.weight.grad.clone()
    parallel.average_gradients(net)
    torch.testing.assert_close(net.weight.grad, alone)
    assert net.weight.grad.stride() == net.weight.stride()


def test_alone_nothing_is_shared(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with parallel.together(torch.device("cpu")):
        assert (parallel.rank(), parallel.ranks()) == (0, 1)
        assert parallel.share_of(7) == 7
        assert parallel.from_first("mine") == "mine"
        assert signal.getsignal(signal.SIGTERM) is before
