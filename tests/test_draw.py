"""DRAW as a generator: its bound against closed forms, its noise, its windows, its films."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import OFFLINE

from agents.experiments import Experiment
from agents.experiments.experiment import load_agent, to_config
from agents.learn import generative
from agents.learn.generative import Generative, binary_generator, bound, make_scenes, pictures
from agents.learn.loop import Loop
from agents.learn.run import Run
from agents.models.draw import DRAW, DRAWSettings, Stroke
from agents.show import drawing

TINY = Experiment(
    "Glimpse/MNIST-v0",
    DRAWSettings(steps=3, hidden=16, latent=4),
    Generative(),
    Loop(epochs=2, images_per_epoch=256, batch_size=64),
    OFFLINE,
)


def make(attention: bool = True, **changes: int) -> DRAW:
    torch.manual_seed(0)
    return DRAW((1, 12, 12), **{"steps": 3, "hidden": 16, "latent": 4, **changes}, attention=attention)


def binary(batch: int = 5) -> torch.Tensor:
    return torch.bernoulli(torch.full((batch, 1, 12, 12), 0.3), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("attention", [True, False])
def test_a_model_that_says_nothing_has_the_bound_of_independent_pixels(attention: bool) -> None:
    """Q = N(0, 1) costs nothing, and a canvas never written on is a Bernoulli of its first logit."""
    model = make(attention)
    for layer in (model.posterior, model.patch):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = binary()
    reconstruction, latent = model(x)
    torch.testing.assert_close(latent, torch.zeros(5))
    ones = x.sum((1, 2, 3))
    wanted = -(ones * np.log(0.13) + (144 - ones) * np.log(0.87))
    torch.testing.assert_close(reconstruction, wanted)


def test_the_latent_loss_is_the_papers_and_torchs() -> None:
    """Same numbers at every step: KL = T/2 sum(mu² + sigma² - log sigma² - 1)."""
    model = make()
    torch.nn.init.zeros_(model.posterior.weight)
    model.posterior.bias.data = torch.tensor([0.5, -1.0, 0.0, 2.0, 0.1, -0.3, 0.7, 0.0])
    _, latent = model(binary())
    mean, sigma = model.posterior.bias[:4], model.posterior.bias[4:].exp()
    normal = torch.distributions.Normal
    each = torch.distributions.kl_divergence(normal(mean, sigma), normal(0.0, 1.0)).sum()
    written_out = 0.5 * (mean**2 + sigma**2 - (sigma**2).log() - 1).sum()
    torch.testing.assert_close(each, written_out)
    torch.testing.assert_close(latent, (3 * each).expand(5).detach())


def test_z_is_drawn_from_what_the_latent_loss_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of ones: the decoder is given mean + sigma; what is read is x and x less its reconstruction."""
    model = make()
    torch.nn.init.zeros_(model.posterior.weight)
    model.posterior.bias.data = torch.tensor([0.5, -1.0, 0.0, 2.0, 0.1, -0.3, 0.7, 0.0])
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    given, seen = [], []
    model.decoder.register_forward_hook(lambda _, inputs, out: given.append(inputs[0]))
    read = model._read
    monkeypatch.setattr(model, "_read", lambda pictures, h: seen.append(pictures) or read(pictures, h))
    x = binary()
    model(x)
    z = model.posterior.bias[:4] + model.posterior.bias[4:].exp()
    torch.testing.assert_close(given[0], z.detach().expand(5, 4))
    torch.testing.assert_close(seen[0], torch.cat([x, x - 0.13], 1))


def test_noise_is_fresh_at_every_step_and_for_every_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    normal = torch.randn_like
    monkeypatch.setattr(torch, "randn_like", lambda like: drawn.append(normal(like)) or drawn[-1])
    make()(binary())
    noise = torch.stack(drawn).flatten(0, 1)
    assert noise.shape == (15, 4)
    assert len(noise.unique(dim=0)) == 15


def test_without_attention_all_is_read_and_written() -> None:
    model = make(attention=False)
    assert model.encoder.glimpse.in_features == 2 * 144 + 16
    assert model.patch.out_features == 144
    (stroke, *_) = model.reconstruct(binary())
    assert stroke.read is None
    assert stroke.write is None


@pytest.mark.parametrize("attention", [True, False])
def test_every_weight_learns(attention: bool) -> None:
    model = make(attention)
    sum(model(binary())).mean().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert not still


def test_bfloat16_does_not_coarsen_its_windows() -> None:
    model = make()
    torch.nn.init.normal_(model.reader.weight, std=0.3)
    torch.nn.init.normal_(model.first)
    x = binary()
    plain = next(model.reconstruct(x))
    with torch.autocast("cpu", torch.bfloat16):
        cast = next(model.reconstruct(x))
    torch.testing.assert_close(cast.read, plain.read, rtol=0, atol=1e-6)


def test_what_is_written_lies_in_the_window() -> None:
    """A writer that says: a small window in the upper right corner. The rest stays as it was."""
    model = make(steps=1)
    torch.nn.init.zeros_(model.writer.weight)
    model.writer.bias.data = torch.tensor([0.8, -0.8, -3.0, -2.0, 0.0])
    (stroke,) = model.dream(2)
    changed = (stroke.canvas - model.start).abs() > 1e-4
    assert changed[:, :, :6, 6:].any()
    assert not changed[:, :, 7:].any()
    assert not changed[:, :, :, :5].any()


def test_it_learns_to_draw_one_picture() -> None:
    model, x = make(steps=4), binary(1).expand(32, 1, 12, 12)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    nats = []
    for _ in range(120):
        loss = sum(model(x)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        nats.append(loss.item())
    assert nats[-1] < nats[0] / 3


def canvases(split: str, first: int, count: int) -> np.ndarray:
    env = make_scenes(TINY.env_id, TINY.env, split, count)
    return env.reset(options={"index": np.arange(first, first + count)})[0]["canvas"]


def test_binarisation_is_fixed_where_it_is_scored() -> None:
    canvas = canvases("test", 0, 50)
    one, other = (pictures(canvas, True, binary_generator(0, (1, 28, 28))) for _ in range(2))
    assert torch.equal(one, other)
    assert set(one.unique().tolist()) == {0, 1}
    grey = pictures(canvas, False)
    assert not torch.equal(pictures(canvas, True), one)
    # Pixels are one as often as they are bright: 39,200 of them.
    assert one.mean().item() == pytest.approx(grey.mean().item(), abs=0.005)


def test_a_picture_has_the_same_pixels_wherever_its_batch_begins() -> None:
    all_of_them = pictures(canvases("test", 0, 30), True, binary_generator(0, (1, 28, 28)))
    some = pictures(canvases("test", 5, 7), True, binary_generator(5, (1, 28, 28)))
    assert torch.equal(some, all_of_them[5:12])


def test_bound_is_the_mean_over_all_pictures_and_leaves_the_generator_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batches of 300: the fourth is filled up with what must not count."""
    monkeypatch.setattr(generative, "BATCH", 300)
    model = TINY.build(TINY.spec())
    before = torch.random.get_rng_state()
    scored = bound(model, TINY.env_id, TINY.env, "test", True)
    assert torch.equal(before, torch.random.get_rng_state())
    assert scored == bound(model, TINY.env_id, TINY.env, "test", True)
    grey = pictures(canvases("test", 0, scored.scenes), False)
    # It hardly writes yet: nats of pixels of this brightness under a Bernoulli of .13, the rest is noise.
    untouched = -(grey.sum() * np.log(0.13) + (1 - grey).sum() * np.log(0.87)) / scored.scenes
    assert scored.error == pytest.approx(untouched.item(), rel=0.03)
    low, high = scored.ci95
    assert low < scored.error < high


def test_training_lowers_the_bound_and_its_checkpoint_loads(tmp_path: Path) -> None:
    spec = TINY.spec()
    run = Run(tmp_path / "run", to_config("test", TINY, spec), resume=False, overwrite=False)
    metrics = list(TINY.train(run, TINY.build(spec), quiet=True))
    assert metrics[-1]["validation_nats"] < metrics[0]["validation_nats"]
    model, loaded, _ = load_agent(tmp_path / "run" / "best.safetensors")
    assert loaded == TINY
    best = min(epoch["validation_nats"] for epoch in metrics)
    scored = bound(model, TINY.env_id, TINY.env, "validation", True)
    assert scored.error == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("brightness", [0.0, 1.0, float("nan")])
def test_a_canvas_of_no_brightness_is_refused(brightness: float) -> None:
    with pytest.raises(ValueError, match="brightness"):
        TINY.but(model={"brightness": brightness})


def test_windows_are_drawn_where_they_are() -> None:
    """A window of 4 pixels around pixel (7.5, 1.5) of 12: columns 6 to 10, rows 0 to 4, times six."""
    theta = torch.tensor([[[4 / 12, 0, 2 * 7.5 / 11 - 1], [0, 4 / 12, 2 * 1.5 / 11 - 1]]])
    stroke = Stroke(torch.zeros(1, 1, 12, 12), torch.zeros(1), None, theta)
    frame = drawing.pictures_of(stroke)[0]
    outlined = np.argwhere((frame == drawing.WRITE).all(-1))
    assert outlined.min(0).tolist() == [1, 1 + 6 * 6]
    assert outlined.max(0).tolist() == [1 + 4 * 6, 1 + 10 * 6]
    assert len(outlined) == 4 * 24


def test_films_show_every_step_with_its_windows(tmp_path: Path) -> None:
    model = make(steps=5)
    model.reader.bias.data[3] = -1.0  # both windows span the canvas to begin with: one would hide the other
    steps = drawing.drawn(model, binary(4), 4)
    side = 12 * drawing.ZOOM + 2
    assert [len(step) for step in steps] == [4] * 5
    assert steps[0][0].shape == (side, side, 3)
    for color in (drawing.READ, drawing.WRITE):
        assert (steps[2][0] == color).all(-1).any()
    dreams = drawing.drawn(model, None, 4)
    assert not any((picture == drawing.READ).all(-1).any() for step in dreams for picture in step)
    drawing.save(tmp_path / "x.gif", steps)
    film = iio.imread(tmp_path / "x.gif")
    assert film.shape == (5, 2 * side, 2 * side, 3)
    drawing.save(tmp_path / "x.png", steps)
    strip = iio.imread(tmp_path / "x.png")  # a row a picture, a column a step
    assert strip.shape == (4 * side, 5 * side, 3)
    np.testing.assert_array_equal(strip[3 * side :, 2 * side : 3 * side], steps[2][3])
    x = binary(4)
    drawing.save(tmp_path / "x.png", steps, x)  # what was drawn comes first
    beside = iio.imread(tmp_path / "x.png")
    np.testing.assert_array_equal(beside[:, side:], strip)
    original = beside[3 * side + 1 : 4 * side - 1 : drawing.ZOOM, 1 : side - 1 : drawing.ZOOM]
    np.testing.assert_array_equal(original[..., 1] / 255, x[3, 0].numpy())
    with pytest.raises(ValueError, match=r"x\.jpg"):
        drawing.save(tmp_path / "x.jpg", steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.gif", "x.png"]
