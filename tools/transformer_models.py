"""The transformers that NeuSight measured, as their library wrote them then: attention from products, softmax and a mask."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, tuple[Tensor, ...]]


class Conv1D(nn.Module):
    """A linear layer that keeps its weight as [in, out]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out], as one product of all rows."""
        rows = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return rows.view(*x.shape[:-1], -1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, tokens, width] to [batch, heads, tokens, width / heads], by strides."""
    return x.view(*x.shape[:-1], heads, -1).permute(0, 2, 1, 3)


def merge_heads(x: Tensor) -> Tensor:
    """The reverse, which copies."""
    x = x.permute(0, 2, 1, 3).contiguous()
    return x.view(*x.shape[:-2], -1)


class BertLayer(nn.Module):
    """Post-norm layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[batch, tokens, width] to the same."""
        query, key, value = (split_heads(part(x), self.heads) for part in (self.query, self.key, self.value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / 8.0 + mask
        mixed = torch.matmul(torch.softmax(scores, -1), value)
        x = self.attention_norm(self.out(merge_heads(mixed)) + x)
        out: Tensor = self.norm(self.down(nn.functional.gelu(self.up(x))) + x)
        return out


class Bert(nn.Module):
    """BERT with a classifier of two classes."""

    def __init__(self, width: int, heads: int, layers: int, tokens: int) -> None:
        super().__init__()
        self.word, self.segment, self.position = (nn.Embedding(n, width) for n in (30_522, 2, 512))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(BertLayer(width, heads) for _ in range(layers))
        self.pooler, self.classifier = nn.Linear(width, width), nn.Linear(width, 2)
        self.segments: Tensor
        self.register_buffer("places", torch.empty(1, tokens, dtype=torch.int64), persistent=False)
        self.register_buffer("segments", torch.empty(1, tokens, dtype=torch.int64), persistent=False)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask [batch, tokens] to scores [batch, 2]."""
        x = self.word(words) + self.segment(self.segments.expand(words.shape)) + self.position(self.places)
        x = self.norm(x)
        far = (1.0 - mask[:, None, None, :]) * -3.4e38
        for layer in self.layers:
            x = layer(x, far)
        out: Tensor = self.classifier(torch.tanh(self.pooler(x[:, 0])))
        return out


class Gpt2Layer(nn.Module):
    """Pre-norm layer with a causal mask that is read for every score, and GELU written out."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.all, self.out = Conv1D(width, 3 * width), Conv1D(width, width)
        self.up, self.down = Conv1D(width, 4 * width), Conv1D(4 * width, width)
        self.causal: Tensor
        self.register_buffer("causal", torch.empty(1, 1, tokens, tokens, dtype=torch.bool), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, width] to the same."""
        normed = self.attention_norm(x)
        query, key, value = (split_heads(part, self.heads) for part in self.all(normed).split(x.shape[-1], dim=2))
        scores = torch.matmul(query, key.transpose(-1, -2))
        scores = scores / torch.full([], value.size(-1) ** 0.5, dtype=scores.dtype, device=scores.device)
        lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype, device=scores.device)
        weights = torch.softmax(torch.where(self.causal, scores, lowest), -1)
        x = self.out(merge_heads(torch.matmul(weights, value))) + x
        up = self.up(self.norm(x))
        wave = torch.tanh(0.7978845608 * (up + 0.044715 * torch.pow(up, 3.0)))
        out: Tensor = x + self.down(0.5 * up * (1.0 + wave))
        return out


class Gpt2(nn.Module):
    """GPT-2 with logits of every token."""

    def __init__(self, width: int, heads: int, layers: int, tokens: int) -> None:
        super().__init__()
        self.word, self.position = nn.Embedding(50_257, width), nn.Embedding(tokens, width)
        self.layers = nn.ModuleList(Gpt2Layer(width, heads, tokens) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 50_257, bias=False)
        self.register_buffer("places", torch.empty(1, tokens, dtype=torch.int64), persistent=False)

    def forward(self, words: Tensor) -> Tensor:
        """Ids [batch, tokens] to logits [batch, tokens, words]."""
        x = self.word(words) + self.position(self.places)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.head(self.norm(x))
        return out


def bert_large(batch: int, tokens: int) -> Built:
    """BERT-large with inputs, on the meta device."""
    with torch.device("meta"):
        model = Bert(1024, 16, 24, tokens).eval()
        return model, (torch.empty(batch, tokens, dtype=torch.int64), torch.empty(batch, tokens))


def gpt2_large(batch: int, tokens: int) -> Built:
    """GPT2-large with inputs, on the meta device."""
    with torch.device("meta"):
        return Gpt2(1280, 20, 36, tokens).eval(), (torch.empty(batch, tokens, dtype=torch.int64),)


MODELS: dict[str, Callable[[int, int], Built]] = {"bert_large": bert_large, "gpt2_large": gpt2_large}
