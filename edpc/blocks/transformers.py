"""Transformer encoders, and GPT-2: ViT-B/16, BERT base."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, tuple[Tensor, ...]]


class Attention(nn.Module):
    """Multi-head self-attention: [batch, tokens, width] to the same."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Projections around one scaled dot-product attention."""
        batch, tokens, width = x.shape
        split = (batch, tokens, self.heads, width // self.heads)
        q, k, v = (layer(x).view(split).transpose(1, 2) for layer in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class FeedForward(nn.Module):
    """down(gelu(up(x)))."""

    def __init__(self, width: int, hidden: int, approximate: str = "none") -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.gelu = nn.GELU(approximate)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Both layers."""
        out: Tensor = self.down(self.gelu(self.up(x)))
        return out


class Layer(nn.Module):
    """Attention and feed-forward with residuals; the norm before each (`pre`), or after its residual."""

    def __init__(
        self, width: int, heads: int, hidden: int, *, pre: bool, epsilon: float, causal: bool = False, approximate: str = "none"
    ) -> None:
        super().__init__()
        self.pre = pre
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.attention = Attention(width, heads, causal)
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = FeedForward(width, hidden, approximate)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, width] to the same."""
        if self.pre:
            x = x + self.attention(self.attention_norm(x))
            out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        else:
            x = self.attention_norm(x + self.attention(x))
            out = self.feed_forward_norm(x + self.feed_forward(x))
        return out


class VisionTransformer(nn.Module):
    """Patches of 16 x 16 pixels, a class token, pre-norm layers and a classifier on the class token."""

    def __init__(self, classes: int, size: int, layers: int, width: int = 768, heads: int = 12, patch: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, (size // patch) ** 2 + 1, width))
        self.layers = nn.Sequential(*(Layer(width, heads, 4 * width, pre=True, epsilon=1e-6) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, size, size] to [batch, classes]."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.class_token.expand(x.shape[0], -1, -1), x), dim=1) + self.positions
        out: Tensor = self.classifier(self.norm(self.layers(x))[:, 0])
        return out


class Bert(nn.Module):
    """Word, position and segment embeddings, post-norm layers, and a pooler on the first token; no padding mask."""

    def __init__(self, tokens: int, layers: int, vocabulary: int, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(512, width)
        self.segment = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.Sequential(*(Layer(width, heads, 4 * width, pre=False, epsilon=1e-12) for _ in range(layers)))
        self.pooler = nn.Linear(width, width)
        self.register_buffer("places", torch.empty(1, tokens, dtype=torch.int64), persistent=False)

    def forward(self, words: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [batch, tokens] to the last layer [batch, tokens, width] and the pooled first token [batch, width]."""
        x = self.word(words) + self.position(self.places) + self.segment(segments)
        x = self.layers(self.norm(x))
        return x, torch.tanh(self.pooler(x[:, 0]))


class Gpt2(nn.Module):
    """Word and position embeddings, causal pre-norm layers, and logits of every token."""

    def __init__(self, tokens: int, layers: int, vocabulary: int, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(1024, width)
        stack = (Layer(width, heads, 4 * width, pre=True, epsilon=1e-5, causal=True, approximate="tanh") for _ in range(layers))
        self.layers = nn.Sequential(*stack)
        self.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.word.weight
        self.register_buffer("places", torch.empty(1, tokens, dtype=torch.int64), persistent=False)

    def forward(self, words: Tensor) -> Tensor:
        """Ids [batch, tokens] to logits [batch, tokens, vocabulary]."""
        x = self.word(words) + self.position(self.places)
        out: Tensor = self.lm_head(self.norm(self.layers(x)))
        return out


def ids(batch: int, tokens: int) -> Tensor:
    """Word or segment numbers."""
    return torch.empty(batch, tokens, dtype=torch.int64)


def transformer_encoder(*, batch: int, tokens: int, width: int, heads: int, hidden: int) -> Built:
    """One pre-norm encoder layer."""
    return Layer(width, heads, hidden, pre=True, epsilon=1e-5), (torch.empty(batch, tokens, width),)


def vit_b_16(*, batch: int, classes: int, size: int, layers: int) -> Built:
    """Vision Transformer, base, 16 x 16 patches."""
    return VisionTransformer(classes, size, layers), (torch.empty(batch, 3, size, size),)


def bert_base(*, batch: int, tokens: int, layers: int, vocabulary: int) -> Built:
    """BERT base."""
    return Bert(tokens, layers, vocabulary), (ids(batch, tokens), ids(batch, tokens))


def gpt2(*, batch: int, tokens: int, layers: int, vocabulary: int) -> Built:
    """GPT-2 small."""
    return Gpt2(tokens, layers, vocabulary), (ids(batch, tokens),)
