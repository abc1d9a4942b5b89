from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from agents.experiments.experiment import load_agent
from agents.learn import checkpoint, files
from agents.learn.checkpoint import CheckpointError
from agents.models.dram import DRAM
from agents.models.ram import RAM
from agents.report import results


def test_round_trip_keeps_tensors_and_config(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"w": torch.randn(3, 4), "n": torch.tensor(7)}
    checkpoint.save(path, tensors, {"experiment": "x", "settings": {"lr": 0.1}})
    loaded, config = checkpoint.load(path)
    assert config == {"experiment": "x", "settings": {"lr": 0.1}}
    assert all(torch.equal(loaded[k], tensors[k]) for k in tensors)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04]\x94.", None])
def test_damaged_and_missing_files_end_in_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        checkpoint.load(path)


def edited(path: Path, *keys: str, value: Any, name: str = "lookup-10") -> Path:
    """A published checkpoint with another value in its config."""
    tensors, config = checkpoint.load(results.pretrained_path(name, 1))
    part = config
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    checkpoint.save(path, tensors, config)
    return path


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("model", "hidden"), 256.0),
        (("model", "core"), []),
        (("seed",), 1.5),
        (("seed",), True),
        (("experiment",), []),
        (("training_minutes",), [1]),
        (("spec", "retina"), []),
        (("spec", "num_answers"), -1),
        (("spec", "words"), 1.5),
    ],
)
def test_a_config_of_other_kinds_ends_in_one_sentence(
    tmp_path: Path, keys: tuple[str, ...], value: object
) -> None:
    path = edited(tmp_path / "a.safetensors", *keys, value=value)
    with pytest.raises(CheckpointError, match=r"a\.safetensors was made by .* retrain it with that"):
        load_agent(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("alphabet", "abc"), ("alphabet", "a" * 65), ("alphabet", list("a" * 65)), ("symbols", "no")],
)
def test_a_language_models_alphabet_is_one(tmp_path: Path, key: str, value: object) -> None:
    path = edited(tmp_path / "a.safetensors", "spec", key, value=value, name="char-lstm")
    with pytest.raises(CheckpointError, match=rf"spec\.{key} is .* retrain it with that"):
        load_agent(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, number: float) -> None:
    tensors, config = checkpoint.load(results.pretrained_path("lookup-10", 1))
    name = next(iter(tensors))
    tensors[name].view(-1)[-1] = number
    checkpoint.save(tmp_path / "a.safetensors", tensors, config)
    with pytest.raises(CheckpointError, match=r"a\.safetensors has weights that are not finite"):
        load_agent(tmp_path / "a.safetensors")


def test_a_config_that_is_nested_without_end_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.zeros(1)}, path, {"config": "[" * 200_000})
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(path)


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"w": torch.randn(100)}, {})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    tensors = nn.Linear(3, 5).state_dict()
    with pytest.raises(CheckpointError, match=r"weight is \(5, 3\) in the file and \(5, 4\) here"):
        checkpoint.load_weights(nn.Linear(4, 5), tensors, tmp_path)
    with pytest.raises(CheckpointError, match="bias"):
        checkpoint.load_weights(nn.Linear(3, 5, bias=False), tensors, tmp_path)


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 250 + ".txt")  # and with a temporary name's additions longer than a name may be
    with pytest.raises(OSError, match="name too long") as told:
        files.write(path, "text")
    assert told.value.filename == str(path)
    for wrong, says in (
        (tmp_path / "none" / "a.txt", "there is no folder"),
        (tmp_path, "is a folder: name a file"),
    ):
        with pytest.raises(OSError, match=says):
            files.check_place(wrong)
    files.check_place(tmp_path / "a.txt")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"w": torch.zeros(2)}, {"version": 1})

    def full_disk(tensors: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(OSError, match="the disk is full: free some space"):
        checkpoint.save(path, {"w": torch.ones(2)}, {"version": 2})
    assert checkpoint.load(path)[1] == {"version": 1}


def test_optimizer_round_trip() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    step(model, optimizer)
    twin = nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    restored = torch.optim.AdamW(twin.parameters(), 0.1)
    saved = {k: v.clone() for k, v in checkpoint.flatten_optimizer(optimizer).items()}  # as a file would
    checkpoint.restore_optimizer(restored, saved)
    step(model, optimizer)
    step(twin, restored)
    assert torch.equal(model.weight, twin.weight)


def test_starting_from_a_task_of_other_answers_keeps_all_but_the_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    digits, sums = RAM((1, 8, 8), 10, hidden=16), RAM((1, 8, 8), 19, hidden=16)
    fresh = {key: value.clone() for key, value in sums.state_dict().items()}
    checkpoint.start_from(sums, digits.state_dict(), tmp_path)
    for key, value in sums.state_dict().items():
        from_where = fresh if key.startswith("classifier.") else digits.state_dict()
        assert torch.equal(value, from_where[key])
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.start_from(RAM((1, 8, 8), 10, hidden=17), digits.state_dict(), tmp_path)
    twin = RAM((1, 8, 8), 10, hidden=16)
    checkpoint.start_from(twin, digits.state_dict(), tmp_path)
    assert torch.equal(twin.classifier.weight, digits.classifier.weight)


def test_a_start_without_a_part_leaves_it_out(tmp_path: Path) -> None:
    whole, without = DRAM((2, 12, 12), (1, 25, 25), 10, 16), DRAM((2, 12, 12), None, 10, 16)
    checkpoint.start_from(without, whole.state_dict(), tmp_path)
    assert torch.equal(without.upper.glimpse.weight, whole.upper.glimpse.weight)
    with pytest.raises(CheckpointError, match="context_network"):
        checkpoint.start_from(whole, without.state_dict(), tmp_path)
