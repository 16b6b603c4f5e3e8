"""`stack-projections`: products of one activation with several weights are one product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from edpc.ir import Graph, Operator, TensorType, Value, attributes
from edpc.ir.rebuild import Rebuild
from edpc.pipeline.base import Fact, Pass, PassContext

# What the key of a product is: what it reads, whether its weight lies transposed, how deep it is, whether it has a bias.
Key = tuple[Value, bool, int | None, bool]


@dataclass(frozen=True)
class StackProjections(Pass):
    """Weights that multiply the same activation are stacked into one, and the product's result is cut by strides.

    Serving stacks store queries, keys and values, and the two halves of a gated feed-forward, that way.
    """

    name: ClassVar[str] = "stack-projections"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})
    produces: ClassVar[frozenset[Fact]] = frozenset()
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Rewrites the graph in one walk."""
        work = Rebuild(graph)
        together: dict[Key, list[str]] = {}
        for name in graph.order():
            if (key := _key(graph, name)) is not None:
                together.setdefault(key, []).append(name)
        stacks = {names[0]: names for names in together.values() if len(names) > 1}
        for name in graph.order():
            if name in stacks:
                _stack(work, stacks[name])
            elif name not in work.gone:
                work.keep(name, graph.op(name), work.operands(name))
        work.prune()
        return work.finish()


def _key(graph: Graph, name: str) -> Key | None:
    """What products must have in common to be one; None for an operator that is no product with a weight."""
    op, operands = graph.op(name), graph.operands(name)
    if op.kind != "matmul" or not 2 <= len(operands) <= 3 or len(op.outputs) != 1 or op.inputs[0].shape is None:
        return None
    if any(graph.op(value.node).kind != "parameter" for value in operands[1:]) or not op.inputs[1].is_static:
        return None
    weight, biased = op.inputs[1].dims(), len(operands) == 3
    known = {"transpose_b", "executions"}
    plain = len(weight) == 2 and not (biased and op.inputs[2].shape != op.outputs[0].dims()[-1:])
    if not plain or any(key not in known for key, _ in op.attributes) or op.attribute("executions", 1) != 1:
        return None
    across = bool(op.attribute("transpose_b"))
    return operands[0], across, weight[1 if across else 0], biased


def _stack(work: Rebuild, names: Sequence[str]) -> None:
    """One product in the place of the first, and views of its result for all."""
    first = work.old.op(names[0])
    ops = [work.old.op(name) for name in names]
    axis = 0 if first.attribute("transpose_b") else 1
    operands = [work.operands(names[0])[0]]
    for slot in range(1, len(first.inputs)):
        kept = [op.inputs[slot].dims() for op in ops]
        along = axis if slot == 1 else 0
        shape = (*kept[0][:along], sum(dims[along] for dims in kept), *kept[0][along + 1 :])
        source = work.old.op(work.old.operands(names[0])[slot].node)
        stacked = replace(source, outputs=(TensorType(first.inputs[slot].dtype, shape),))
        operands.append(Value(work.insert(f"{names[0]}.stacked", stacked)))
    outputs = tuple(op.outputs[0] for op in ops)
    last = sum(out.dims()[-1] for out in outputs)
    rows = outputs[0].shape or ()
    whole = replace(first, outputs=(TensorType(outputs[0].dtype, (*rows[:-1], last)),))
    product = Value(work.insert(f"{names[0]}.all", whole, operands))
    cut = Operator("view_split", (), outputs, attributes(axis=len(rows) - 1), first.location)
    parts = work.insert(f"{names[0]}.parts", cut, (product,))
    for number, name in enumerate(names):
        work.alias(name, (Value(parts, number),))
