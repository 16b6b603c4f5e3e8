"""Blocks as torch's ONNX exporter writes them, without weights in memory or on disk. Imported only where torch is."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir
import torch
from torch import Tensor, nn
from torch.nn import functional

from edpc.blocks import build

# What is longer goes to a file of weights, which nobody writes.
LONGEST_INLINE_BYTES = 1024


def hollow(module: nn.Module) -> nn.Module:
    """The module with real weights that take no memory: each tensor is one number seen many times, no two the same.

    Shared tensors stay shared. Unlike those on the meta device these have values, so that the exporter can fold batch norms.
    """
    made: dict[int, Tensor] = {}
    for part in module.modules():
        for held, is_parameter in ((part._parameters, True), (part._buffers, False)):
            for name, tensor in held.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    number = 1.0 + len(made) / 1024 if tensor.is_floating_point() else 0
                    seen = torch.full((), number, dtype=tensor.dtype).expand(tensor.shape)
                    made[id(tensor)] = nn.Parameter(seen, requires_grad=False) if is_parameter else seen
                held[name] = made[id(tensor)]  # type: ignore[assignment]
    return module


def write_onnx(name: str, folder: Path, *, opset: int | None = None, optimize: bool = True) -> Path:
    """The file of a block as `torch.onnx.export(..., dynamo=True)` makes it, weights left out; None: the default opset.

    A file that is there already is taken as it is.
    """
    path = folder / f"{name}.{opset or 'default'}{'' if optimize else '.plain'}.onnx"
    if path.exists():
        return path
    module, inputs = build(name)
    inputs = tuple(torch.zeros(each.shape, dtype=each.dtype) for each in inputs)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                hollow(module), inputs, dynamo=True, verbose=False, opset_version=opset, optimize=optimize
            )
    finally:
        logging.disable(before)
    for value in program.model.graph.initializers.values():
        held = value.const_value
        if held.nbytes > LONGEST_INLINE_BYTES:
            value.const_value = onnx_ir.ExternalTensor(
                "weights.bin", 0, held.nbytes, held.dtype, shape=held.shape, name=value.name
            )
    # Another process may be at the same file; whoever is last leaves a whole one.
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(program.model_proto.SerializeToString())
    return part.replace(path)


def attention_written_out(
    query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool = False, enable_gqa: bool = False
) -> Tensor:
    """`scaled_dot_product_attention` in the operators that the exporter writes for it below opset 23."""
    batch, heads, tokens, depth = query.shape
    if enable_gqa:
        shared = key.shape[1]
        key, value = (
            each.unsqueeze(2).expand(batch, shared, heads // shared, -1, -1).reshape(batch, heads, -1, depth)
            for each in (key, value)
        )
    scores = (query * depth**-0.25) @ (key.transpose(-2, -1) * depth**-0.25)
    if is_causal:
        below = torch.tril(torch.ones(tokens, tokens, device=query.device))
        scores = scores + torch.where(below == 0, -torch.inf, 0.0)
    return torch.softmax(scores, -1) @ value


def rms_norm_written_out(self: nn.RMSNorm, x: Tensor) -> Tensor:
    """`RMSNorm.forward` in the operators that the exporter writes for it below opset 23."""
    root = torch.sqrt(x.pow(2).mean(-1, keepdim=True) + float(self.eps or 0.0))
    return x * torch.reciprocal(root) * self.weight


@contextmanager
def written_out() -> Iterator[None]:
    """Modules run with attention and RMS norms in elementary operators."""
    whole = functional.scaled_dot_product_attention, nn.RMSNorm.forward
    functional.scaled_dot_product_attention = attention_written_out
    nn.RMSNorm.forward = rms_norm_written_out  # type: ignore[method-assign]
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, nn.RMSNorm.forward = whole  # type: ignore[method-assign]
