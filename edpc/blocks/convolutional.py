"""Blocks of convolutions, and what they are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, tuple[Tensor, ...]]


class ConvNorm(nn.Sequential):
    """A convolution without bias, padded to keep the size at stride one, its batch norm and the activation where there is one."""

    def __init__(
        self, channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(filters)
        if activation is not None:
            self.act = activation


class BasicBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)), both convolutions 3 x 3."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Two convolutions and the addition."""
        out = self.relu(self.bn1(self.conv1(x)))
        total: Tensor = self.relu(self.bn2(self.conv2(out)) + (x if self.downsample is None else self.downsample(x)))
        return total


def shortcut(channels: int, width: int, stride: int) -> nn.Module | None:
    """What brings the block's input to the shape of its output; None where it has it."""
    return None if stride == 1 and channels == width else ConvNorm(channels, width, 1, stride)


def image(batch: int, channels: int, size: int) -> tuple[Tensor]:
    """The one example input."""
    return (torch.empty(batch, channels, size, size),)


def conv2d(*, batch: int, channels: int, filters: int, kernel: int, stride: int, size: int) -> Built:
    """Convolution, batch norm, ReLU."""
    return ConvNorm(channels, filters, kernel, stride, activation=nn.ReLU()), image(batch, channels, size)


def resnet_block(*, batch: int, channels: int, size: int) -> Built:
    """The residual block of ResNet-18, without change of shape."""
    return BasicBlock(channels, channels), image(batch, channels, size)


def batchnorm(*, batch: int, channels: int, size: int) -> Built:
    """Batch norm at inference."""
    return nn.BatchNorm2d(channels), image(batch, channels, size)


def pooling(*, batch: int, channels: int, size: int, kernel: int, stride: int, mode: str) -> Built:
    """Maximum or mean over a window."""
    kind = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}[mode]
    return kind(kernel, stride, kernel // 2), image(batch, channels, size)


def depthwise_separable(*, batch: int, channels: int, filters: int, kernel: int, stride: int, size: int) -> Built:
    """Depthwise, then pointwise."""
    depthwise = ConvNorm(channels, channels, kernel, stride, groups=channels, activation=nn.ReLU())
    return nn.Sequential(depthwise, ConvNorm(channels, filters, 1, activation=nn.ReLU())), image(batch, channels, size)
