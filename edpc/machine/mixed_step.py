"""A decode step that also reads prompts: the columns of the step with more rows in whatever works on tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edpc.ir import Graph, Group, Operator, TensorType, Value, attributes
from edpc.machine.build import build_table
from edpc.machine.table import Flags, Ints, KernelTable
from edpc.operators import Family, work
from edpc.target import Target

# What a serving stack adds to the network it serves.
PARAMETERS: Mapping[str, tuple[str, str]] = {
    "serving.step_gap": ("s", "the device waits between steps: scheduler, launch of the sampler, conversion to text"),
    "serving.sampling": ("s", "sampler, for each logit of each sequence"),
    "serving.sampling_bandwidth": ("B/s", "DRAM traffic of the sampler's sort"),
    "serving.dram_energy": ("J/B", "DRAM traffic while weights and keys and values are streamed all the time"),
    "serving.matrix_energy": ("J/FLOP", "16-bit products while serving"),
    "serving.active_power": ("W", "drawn by clocked multiprocessors while serving, all of them"),
    "serving.attention_floor": ("s", "shortest time of the stack's decode attention, which else streams its cache"),
    "serving.mixed_attention": ("s", "each attention of a step that also reads prompts, for its second launch"),
    "serving.prompt_stall": ("s", "wait of a step for each prompt it reads, of state-space hybrids"),
}

_PER_TOKEN = ("macs", "vector_ops", "transcendentals", "rows", "cold_bytes", "warm_bytes", "write_bytes", "on_chip_bytes")


@dataclass(frozen=True, slots=True)
class Head:
    """Attention of a kind, as one sequence has it, and how many kernels of a step are of that kind."""

    heads: int
    kv_heads: int
    depth: int
    window: int
    dtype: str
    kernels: int


def last_product(table: KernelTable) -> int:
    """Row of the operator that makes the logits: the last one that multiplies; -1 where none does."""
    return int(table.owner.max()) if len(table.owner) else -1


def vocabulary(table: KernelTable) -> int:
    """Logits of a token, 0 where nothing multiplies."""
    at = np.flatnonzero(table.owner == last_product(table))
    return int(table.n[at].max()) if len(at) else 0


def from_memory(table: KernelTable) -> KernelTable:
    """The columns with keys and values read from DRAM: between two steps everything else has passed through the cache."""
    inside = _attends(table)[table.kernel]
    cold = np.where(inside, table.cold_bytes + table.warm_bytes, table.cold_bytes)
    return replace(table, cold_bytes=cold, warm_bytes=np.where(inside, 0.0, table.warm_bytes))


def with_tokens(table: KernelTable, batch: int, tokens: int) -> KernelTable:
    """The columns of a step of `batch` tokens with so many more in it.

    Weights are read once as before. Attention stays as it is; so do the last product, which makes one row of logits for each
    sequence, and what follows it.
    """
    factor = (batch + tokens) / batch
    inside = _attends(table)[table.kernel]
    n = len(table.names)
    grows = ~inside & (np.arange(n) < last_product(table))
    by_operator = np.where(grows, factor, 1.0)
    scaled = {name: getattr(table, name) * by_operator for name in _PER_TOKEN}
    rows = np.where(grows[table.owner] & (table.batch == 1.0), np.round(table.m * factor), table.m)
    return replace(table, m=rows, **scaled)


def heads(table: KernelTable, batch: int) -> tuple[Head, ...]:
    """The kinds of attention of a decode step, from the first product of each of its attention kernels."""
    found: dict[tuple[int, int, int, int, str], int] = {}
    kernels = np.flatnonzero(_attends(table))
    first = {int(kernel): row for row, kernel in reversed(list(enumerate(table.kernel[table.owner].tolist())))}
    for kernel in kernels.tolist():
        if kernel not in first:
            continue
        row = first[kernel]
        group = max(int(table.query_group[kernel]), 1)
        shared = max(round(float(table.batch[row]) / batch), 1)
        many = shared * group if group > 1 else max(round(float(table.batch[row] * table.m[row]) / batch), 1)
        op = table.operators[table.owner[row]]
        key = (many, shared, int(table.k[row]), int(table.window[kernel]), op.inputs[0].dtype)
        found[key] = found.get(key, 0) + 1
    return tuple(Head(*key, kernels=count) for key, count in found.items())


def prompt_attention(head: Head, prompts: int, tokens: int, target: Target) -> KernelTable:
    """Causal attention of one layer within prompts, as the kernel that runs it."""
    graph = Graph("prompts")
    group = head.heads // head.kv_heads
    folded = tokens * group

    def add(name: str, kind: str, operands: tuple[str, ...], *shape: int, **options: int | bool) -> str:
        inputs = tuple(graph.type_of(Value(value)) for value in operands)
        op = Operator(kind, inputs, (TensorType(head.dtype, shape),), attributes(**options))
        graph.add(name, op, [Value(value) for value in operands])
        if op.is_compute:
            graph.annotate(name, work=work(op))
        return name

    query = add("query", "input", (), prompts, head.kv_heads, folded, head.depth)
    key = add("key", "input", (), prompts, head.kv_heads, tokens, head.depth)
    value = add("value", "input", (), prompts, head.kv_heads, tokens, head.depth)
    scores = add("scores", "matmul", (query, key), prompts, head.kv_heads, folded, tokens, transpose_b=True)
    weights = add(
        "weights",
        "softmax",
        (scores,),
        *(prompts, head.kv_heads, folded, tokens),
        axis=3,
        causal=True,
        window=head.window,
        query_group=group,
    )
    mixed = add("mixed", "matmul", (weights, value), prompts, head.kv_heads, folded, head.depth)
    graph.add("return", Operator("return", (graph.type_of(Value(mixed)),)), [Value(mixed)])
    return build_table(graph, (Group("prompts", "attention", "attention", (scores, weights, mixed)),), target)


def _attends(table: KernelTable) -> Flags:
    """Which kernels hold a softmax between products, fused or not: they work on the cache, not on tokens alone."""
    soft: Ints = np.bincount(table.kernel, table.family == Family.SOFTMAX.value, len(table.group)).astype(np.int64)
    attends: Flags = (table.kernel_class == "attention") & (soft > 0)
    return attends
