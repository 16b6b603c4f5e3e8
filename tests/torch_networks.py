"""Small PyTorch networks that tests of the FX frontend share. Imported only where torch is."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from edpc.ir import Graph
from edpc.operators import work


def mlp() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64)), (torch.zeros(4, 128),)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)


def block() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return ResidualBlock(), (torch.zeros(1, 64, 32, 32),)


def encoder() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True, activation="gelu")
    return layer, (torch.zeros(2, 32, 128),)


class Grouped(nn.Module):
    """Causal attention of 8 query heads over 2 key heads, written with `scaled_dot_product_attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(64, 128), nn.Linear(64, 32), nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = (p(x).view(batch, length, -1, 16).transpose(1, 2) for p in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]] = {"mlp": mlp, "block": block, "encoder": encoder}


def kinds(graph: Graph) -> Counter[str]:
    return Counter(op.kind for _, op in graph.items() if op.is_compute)


def macs(graph: Graph) -> int:
    return sum(work(op).macs for _, op in graph.items() if op.is_compute)


def onnx_of(module: nn.Module, inputs: tuple[Any, ...], opset: int) -> Any:
    """The module as torch's own exporter writes it."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(module.eval(), inputs, dynamo=True, verbose=False, opset_version=opset).model_proto
    finally:
        logging.disable(before)
