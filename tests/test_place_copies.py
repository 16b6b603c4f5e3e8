"""place-copies: the copies are those that torch makes, seen by watching its dispatcher run the same module."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import edpc
from edpc.ir import Graph
from edpc.pipeline.base import PassContext
from edpc.pipeline.manager import run_pipeline
from edpc.pipeline.text import parse_pipeline
from targets.h100 import TARGET as H100

EAGER = H100.with_setting("launch", "eager")
PIPELINE = "import-cleanup,place-copies"


class Watch(TorchDispatchMode):
    """Elements of every copy of a layout that is made while it watches."""

    def __init__(self) -> None:
        super().__init__()
        self.copied: Counter[int] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.clone or func.overloadpacket is torch.ops.aten._to_copy:
            self.copied[out.numel()] += 1
        return out


class Heads(nn.Module):
    """Attention written out, its heads split off in one of the ways models do."""

    def __init__(self, way: str, width: int = 24, heads: int = 3) -> None:
        super().__init__()
        self.way, self.heads = way, heads
        self.all = nn.Linear(width, 3 * width)
        self.parts = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.all(x).split(width, dim=2) if "split" in self.way else [part(x) for part in self.parts]
        q, k, v = (t.view(batch, tokens, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        if "contiguous" in self.way:
            q, k, v = (t.contiguous().view(batch * self.heads, tokens, -1) for t in (q, k, v))
        mixed = torch.matmul(torch.softmax(torch.matmul(q, k.transpose(-1, -2)), -1), v)
        mixed = mixed.view(batch, self.heads, tokens, -1)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Repeated(nn.Module):
    """Key heads that several query heads share, spelled out by broadcasting."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        batch, shared, tokens, depth = k.shape
        spread = k[:, :, None].expand(batch, shared, q.shape[1] // shared, tokens, depth)
        return torch.matmul(q, spread.reshape(batch, q.shape[1], tokens, depth).transpose(2, 3))


class Rearranged(nn.Module):
    """Permuted tensors through elementwise functions, norms and reshapes."""

    def forward(self, x: Tensor) -> Tensor:
        turned = torch.relu(x.transpose(1, 2))  # keeps the strides of its operand
        normed = torch.layer_norm(turned.transpose(1, 2), (x.shape[-1],))  # which lies row by row again
        return turned.flatten(1) @ torch.ones(x.shape[1] * x.shape[2], 2) + normed.sum()


def placed(module: nn.Module, *inputs: Tensor) -> Graph:
    graph = edpc.load(module.eval(), example_inputs=inputs)
    run_pipeline(graph, parse_pipeline(PIPELINE), PassContext(EAGER))
    return graph


def copies(graph: Graph) -> Counter[int]:
    return Counter(op.outputs[0].numel for _, op in graph.items() if op.kind in ("contiguous", "expand"))


@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        (Heads("parts"), [(2, 5, 24)]),
        (Heads("parts"), [(1, 5, 24)]),  # heads of one sequence merge: nothing is copied on the way in
        (Heads("split"), [(2, 5, 24)]),
        (Heads("split"), [(1, 5, 24)]),
        (Heads("contiguous"), [(2, 5, 24)]),
        (Heads("contiguous split"), [(2, 5, 24)]),
        (Repeated(), [(2, 6, 5, 4), (2, 2, 7, 4)]),
        (Rearranged(), [(2, 3, 4)]),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'way', '')}" if isinstance(value, nn.Module) else str(value),
)
def test_copies_are_those_torch_makes(module: nn.Module, shapes: list[tuple[int, ...]]) -> None:
    inputs = [torch.zeros(shape) for shape in shapes]
    with torch.no_grad(), Watch() as watch:
        module.eval()(*inputs)
    assert copies(placed(module, *inputs)) == watch.copied


def test_the_copy_of_a_transposed_operand_says_how_it_lies() -> None:
    graph = placed(Heads("parts"), torch.zeros(2, 5, 24))
    perms = [op.attribute("perm") for _, op in graph.items() if op.kind == "contiguous"]
    # Q, then K with tokens and features exchanged, then V and the result, whose heads alone change place.
    assert perms == [(0, 2, 1, 3), (0, 3, 1, 2), (0, 2, 1, 3), (0, 2, 1, 3)]


def test_attention_that_is_one_call_reads_by_strides() -> None:
    class Fused(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            q = x.view(2, 5, 3, 8).transpose(1, 2)
            return nn.functional.scaled_dot_product_attention(q, q, q)

    graph = placed(Fused(), torch.zeros(2, 5, 24))
    assert not copies(graph)
    report = edpc.compile(Fused(), target=EAGER, example_inputs=(torch.zeros(2, 5, 24),))
    (kernel,) = [group for group in report.subgraphs if group.latency_s > 0]
    assert kernel.fusion_pattern == "attention-call"


def test_operands_that_do_not_lie_alike_cost_an_elementwise_kernel_its_vectors() -> None:
    class Sums(nn.Module):
        def forward(self, x: Tensor, y: Tensor, row: Tensor) -> tuple[Tensor, ...]:
            return x + y, x + row, x + 2.0, x + y.transpose(0, 1), x.transpose(0, 1) + y.transpose(0, 1)

    graph = placed(Sums(), torch.zeros(4, 4), torch.zeros(4, 4), torch.zeros(1, 4))
    sums = [bool(op.attribute("uneven")) for _, op in graph.items() if op.kind == "add"]
    assert sums == [False, True, False, True, False]


def test_a_compiled_target_keeps_its_rearrangements_and_a_second_run_changes_nothing() -> None:
    graph = edpc.load(Heads("parts").eval(), example_inputs=(torch.zeros(2, 5, 24),))
    run_pipeline(graph, parse_pipeline(PIPELINE), PassContext(H100))
    assert not copies(graph)
    run_pipeline(graph, parse_pipeline(PIPELINE), PassContext(EAGER))
    before = graph.copy()
    run_pipeline(graph, parse_pipeline(PIPELINE), PassContext(EAGER))
    assert graph == before


def test_flips_and_rolls_stay_copies() -> None:
    class Moved(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.roll(torch.flip(x, (1,)), 1, 1)[:, 1:]

    kinds = [op.kind for _, op in placed(Moved(), torch.zeros(2, 5)).items() if op.is_compute]
    assert kinds == ["slice", "slice", "view_slice"]
