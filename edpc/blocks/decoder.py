"""A Llama-style decoder whose key/value cache goes in and out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, tuple[Tensor, ...]]


class GroupedAttention(nn.Module):
    """Causal attention with fewer key/value heads than query heads, and rotary positions.

    Shapes: x [batch, tokens, width]; keys and values of the cache [batch, kv_heads, past, head width].
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, width // heads
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.v = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """The mixed tokens, and keys and values of past and present tokens."""
        batch, tokens, width = x.shape
        q = rotated(self._split(self.q(x), self.heads), cos, sin)
        k = rotated(self._split(self.k(x), self.kv_heads), cos, sin)
        v = self._split(self.v(x), self.kv_heads)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        is_grouped = self.heads > self.kv_heads
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=past is None, enable_gqa=is_grouped)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width)), k, v

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(x.shape[0], x.shape[1], heads, self.head_width).transpose(1, 2)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The two halves of every head turned by its token's angles: [batch, heads, tokens, head width]."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


class SwiGlu(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, width] to the same."""
        out: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class DecoderLayer(nn.Module):
    """RMS norm and attention, RMS norm and feed-forward, each with its residual."""

    def __init__(self, width: int, heads: int, kv_heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-5)
        self.attention = GroupedAttention(width, heads, kv_heads)
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-5)
        self.feed_forward = SwiGlu(width, hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens, and the layer's keys and values."""
        mixed, keys, values = self.attention(self.attention_norm(x), cos, sin, past)
        x = x + mixed
        return x + self.feed_forward(self.feed_forward_norm(x)), keys, values


class LlamaDecoder(nn.Module):
    """Embedding, layers, norm and logits of the last token; the weight of the logits is its own.

    `tokens` new tokens run at once, after `past` tokens whose keys and values are inputs. Rotary tables are kept for the tokens
    that run.
    """

    def __init__(
        self, *, tokens: int, past: int, layers: int, width: int, heads: int, kv_heads: int, hidden: int, vocabulary: int
    ) -> None:
        super().__init__()
        self.past = past
        self.word = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, kv_heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.register_buffer("cos", torch.empty(tokens, width // heads), persistent=False)
        self.register_buffer("sin", torch.empty(tokens, width // heads), persistent=False)

    def forward(self, words: Tensor, *cache: Tensor) -> tuple[Tensor, ...]:
        """Ids [batch, tokens] and, after past tokens, keys and values of every layer; logits and the grown cache."""
        x = self.word(words)
        grown: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            past = (cache[2 * number], cache[2 * number + 1]) if self.past else None
            x, keys, values = layer(x, self.cos, self.sin, past)
            grown += [keys, values]
        return self.lm_head(self.norm(x[:, -1:])), *grown


def llama_decoder(
    *,
    batch: int,
    phase: str,
    tokens: int,
    past: int,
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    hidden: int,
    vocabulary: int,
) -> Built:
    """Prefill of a prompt, or one decoding step."""
    if phase == "prefill":
        past = 0
    else:
        tokens = 1
    module = LlamaDecoder(
        tokens=tokens,
        past=past,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        hidden=hidden,
        vocabulary=vocabulary,
    )
    cache = [torch.empty(batch, kv_heads, past, width // heads) for _ in range(2 * layers if past else 0)]
    return module, (torch.empty(batch, tokens, dtype=torch.int64), *cache)
