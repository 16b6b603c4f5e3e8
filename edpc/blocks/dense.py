"""Blocks of linear layers: a perceptron, attention written out, layer norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, tuple[Tensor, ...]]


class Mlp(nn.Module):
    """fc2(relu(fc1(x))): [batch, features] to [batch, outputs]."""

    def __init__(self, features: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Both layers."""
        out: Tensor = self.fc2(self.relu(self.fc1(x)))
        return out


class AttentionHead(nn.Module):
    """Multi-head self-attention in elementary operators: [batch, tokens, width] to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """softmax(QK^T / sqrt(d)) V, projected."""
        batch, tokens, width = x.shape
        split = (batch, tokens, self.heads, width // self.heads)
        q, k, v = (layer(x).view(split).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = torch.matmul(q, k.transpose(2, 3)) * (width // self.heads) ** -0.5
        mixed = torch.matmul(torch.softmax(scores, dim=-1), v)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


def mlp(*, batch: int, features: int, hidden: int, outputs: int) -> Built:
    """A perceptron of one hidden layer."""
    return Mlp(features, hidden, outputs), (torch.empty(batch, features),)


def attention_head(*, batch: int, tokens: int, width: int, heads: int) -> Built:
    """Self-attention, operator by operator."""
    return AttentionHead(width, heads), (torch.empty(batch, tokens, width),)


def layernorm(*, batch: int, tokens: int, width: int) -> Built:
    """Layer norm over the last axis."""
    return nn.LayerNorm(width), (torch.empty(batch, tokens, width),)
