"""Convolutional networks: ResNet-18 and -50, MobileNetV2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edpc.blocks.convolutional import BasicBlock, Built, ConvNorm, image, shortcut


class Bottleneck(nn.Module):
    """1 x 1 to `width` channels, 3 x 3 with the stride, 1 x 1 to four times `width`; batch norms, ReLUs and the residual."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.downsample = shortcut(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Three convolutions and the addition."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        total: Tensor = self.relu(self.bn3(self.conv3(out)) + (x if self.downsample is None else self.downsample(x)))
        return total


class ResNet(nn.Module):
    """Stem, four stages of residual blocks at widths 64 to 512, mean and classifier."""

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, int, int, int], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for number, depth in enumerate(depths):
            width = 64 << number
            stage = nn.Sequential()
            for place in range(depth):
                stage.append(block(channels, width, 2 if number and not place else 1))
                channels = width * block.expansion
            self.add_module(f"layer{number + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, size, size] to [batch, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(4):
            x = self.get_submodule(f"layer{number + 1}")(x)
        out: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return out


class InvertedResidual(nn.Module):
    """1 x 1 to `expand` times the channels, depthwise 3 x 3, 1 x 1 without activation; a residual where the shape stays."""

    def __init__(self, channels: int, filters: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = channels * expand
        self.layers = nn.Sequential()
        if expand > 1:
            self.layers.append(ConvNorm(channels, hidden, 1, activation=nn.ReLU6()))
        self.layers.append(ConvNorm(hidden, hidden, 3, stride, hidden, nn.ReLU6()))
        self.layers.append(ConvNorm(hidden, filters, 1))
        self.keeps_shape = stride == 1 and channels == filters

    def forward(self, x: Tensor) -> Tensor:
        """The layers, and their input added."""
        out: Tensor = self.layers(x)
        return x + out if self.keeps_shape else out


# (expansion, filters, blocks, stride of the first) of every stage
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(nn.Module):
    """Stem, seventeen inverted residuals, 1 x 1 convolution to 1,280 channels, mean and classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(ConvNorm(3, 32, 3, 2, activation=nn.ReLU6()))
        channels = 32
        for expand, filters, depth, stride in STAGES:
            for place in range(depth):
                self.features.append(InvertedResidual(channels, filters, 1 if place else stride, expand))
                channels = filters
        self.features.append(ConvNorm(channels, 1280, 1, activation=nn.ReLU6()))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, size, size] to [batch, classes]."""
        out: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return out


def resnet18(*, batch: int, classes: int, size: int) -> Built:
    """ResNet-18."""
    return ResNet(BasicBlock, (2, 2, 2, 2), classes), image(batch, 3, size)


def resnet50(*, batch: int, classes: int, size: int) -> Built:
    """ResNet-50 with the stride in the 3 x 3 convolutions, as most frameworks have it."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes), image(batch, 3, size)


def mobilenet_v2(*, batch: int, classes: int, size: int) -> Built:
    """MobileNetV2, width 1.0."""
    return MobileNetV2(classes), image(batch, 3, size)
