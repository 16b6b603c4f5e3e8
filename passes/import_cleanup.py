"""`import-cleanup`: what exporters leave behind is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edpc.fusion.executed import FORMAT
from edpc.ir import DTYPE_BITS, Graph, Operator, TensorType, Value, attributes
from edpc.ir.rebuild import Rebuild
from edpc.operators import ATTENTION_POINTWISE, CONTRACTION, ELEMENTWISE, VIEW
from edpc.pipeline.base import Fact, Pass, PassContext

# Kinds that are the identity where the type stays the same.
SAME_IF_SAME_TYPE = frozenset({"cast", "expand"}) | VIEW - {"view_transpose"}
# One operand in, the same out.
SAME_OF_ONE = frozenset({"concat", "sum_n", "mean_n", "max", "min"})
# Never the same twice, or made of nothing: not to be folded.
NOT_FOLDED = frozenset({"random", "bernoulli", "multinomial", "quantize_dynamic", "unknown"})
WEIGHT_SLOTS = 2
# On what is computed once and for all from a triangle; what such a tensor adds to scores is a causal mask.
TRIANGLE = ("triangle", True)


@dataclass(frozen=True)
class ImportCleanup(Pass):
    """Every operator left computes or moves something that is read, from at least one activation.

    Identities and dead operators are gone. What is computed from parameters alone is a parameter, but for the dequantisation of a
    contraction's weight. A sum of two is an `add`, that of a parameter vector a `bias` with the activation in slot 0. Transposes
    of transposes are one, and one that moves no two elements apart is a view. A mean over all of an image is a pooling. A softmax
    of scores under a square triangle that is known beforehand is `causal`. Who shares a dequantised activation with a contraction
    has a dequantisation of its own, as every integer kernel does. Types and source names of what remains are as they were.
    A graph that a runtime has optimised stays as it runs.
    """

    name: ClassVar[str] = "import-cleanup"
    produces: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Rewrites the graph in one walk, then drops what nobody reads."""
        if graph.info.format == FORMAT:
            return False
        work = Rebuild(graph)
        returned = False
        for name in graph.order():
            if name not in work.gone:
                _rewrite(work, name)
            returned = returned or graph.op(name).kind == "return"
        if returned:
            work.prune()
        return work.finish()


def _rewrite(work: Rebuild, name: str) -> None:
    """One operator, whose operands have been rewritten."""
    op, operands = work.old.op(name), work.operands(name)
    if not op.is_compute:
        work.keep(name, op, operands)
    elif (same := _identity(work, op, operands)) is not None:
        work.alias(name, [same] * len(op.outputs))
    elif op.kind == "dequantize" and _is_narrow_weight(work, operands[0]) and _feeds_contraction(work.old, name):
        _keep_dequantize(work, name, op, operands)
    elif _is_foldable(work, op, operands):
        _fold(work, name, op, operands)
    else:
        work.keep(name, *_named(work, op, _own_dequantized(work, name, op, operands)))


def _identity(work: Rebuild, op: Operator, operands: tuple[Value, ...]) -> Value | None:
    """The value that the operator's results equal, or None."""
    if not operands:
        return None
    data = operands[0]
    seen = work.type_of(data)
    same_type = seen == op.outputs[0] and seen.is_static if op.outputs else False
    if op.kind == "identity" or (op.kind == "dropout" and not op.attribute("training")):
        return data if all(out == seen for out in op.outputs) else None
    if (op.kind in SAME_IF_SAME_TYPE and same_type) or (op.kind in SAME_OF_ONE and len(operands) == 1 and same_type):
        return data
    perm = op.attribute("perm")
    if op.kind == "transpose" and isinstance(perm, tuple):
        before = work.ops[data.node]
        first = before.attribute("perm")
        if list(perm) == sorted(perm) or (same_type and _moves_nothing(op)):
            return data
        if before.kind == "transpose" and isinstance(first, tuple) and [first[int(p)] for p in perm] == sorted(first):
            return work.reads[data.node][0]
    return None


def _is_narrow_weight(work: Rebuild, value: Value) -> bool:
    """Whether the value is a parameter of quantised elements."""
    op = work.ops[value.node]
    return op.kind in ("parameter", "constant") and DTYPE_BITS[op.outputs[0].dtype] <= 8


def _feeds_contraction(graph: Graph, name: str) -> bool:
    """Whether a contraction multiplies the result, as it is or rearranged."""
    pending = [name]
    while pending:
        for use in graph.uses(pending.pop()):
            kind = graph.op(use.consumer).kind
            if kind in CONTRACTION and use.slot < WEIGHT_SLOTS:
                return True
            if kind == "transpose" or kind in VIEW:
                pending.append(use.consumer)
    return False


def _keep_dequantize(work: Rebuild, name: str, op: Operator, operands: tuple[Value, ...]) -> None:
    """The dequantisation stays; rearrangements that follow it are done to the stored weight beforehand."""
    graph = work.old
    rearranged, last = op.outputs[0], name
    passed: list[str] = []
    while len(uses := list(graph.uses(last))) == 1 and uses[0].slot == 0:
        follower = graph.op(uses[0].consumer)
        if follower.kind != "transpose" and follower.kind not in VIEW:
            break
        rearranged, last = follower.outputs[0], uses[0].consumer
        passed.append(last)
    if passed:
        weight = work.ops[operands[0].node]
        stored = replace(weight, outputs=(TensorType(weight.outputs[0].dtype, rearranged.shape),))
        operands = (Value(work.insert(operands[0].node, stored)), *operands[1:])
    work.keep(name, replace(op, outputs=(rearranged,)), operands)
    for follower_name in passed:
        work.alias(follower_name, [Value(name)])


def _own_dequantized(work: Rebuild, name: str, op: Operator, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """The operands, where a dequantisation that others have read too is replaced by one of the operator's own."""
    found = list(operands)
    for slot, value in enumerate(operands):
        maker = work.ops[value.node]
        if maker.kind != "dequantize" or value.node not in work.read:
            continue
        source = work.reads[value.node]
        readers = [work.old.op(use.consumer).kind for use in work.old.uses(value.node)] if value.node in work.old else []
        if work.ops[source[0].node].is_compute and CONTRACTION.intersection((op.kind, *readers)):
            found[slot] = Value(work.insert(value.node, maker, source))
    return tuple(found)


def _is_foldable(work: Rebuild, op: Operator, operands: tuple[Value, ...]) -> bool:
    """Whether the results can be computed once and for all."""
    kinds = {work.ops[value.node].kind for value in operands}
    return (
        bool(kinds)
        and kinds <= {"parameter", "constant"}
        and op.kind not in NOT_FOLDED
        and bool(op.outputs)
        and all(out.is_static for out in op.outputs)
    )


def _fold(work: Rebuild, name: str, op: Operator, operands: tuple[Value, ...]) -> None:
    """The results are parameters (constants if made of constants only)."""
    kinds = {work.ops[value.node].kind for value in operands}
    kind = "parameter" if "parameter" in kinds else "constant"
    if len(op.outputs) == 1:
        keeps = op.kind in ELEMENTWISE or op.kind in VIEW or op.kind == "expand"
        is_triangle = op.kind == "trilu" or (keeps and any(_is_triangle(work, value) for value in operands))
        work.keep(name, Operator(kind, (), op.outputs, (TRIANGLE,) if is_triangle else (), op.location), ())
        return
    parts = [work.insert(f"{name}.{i}", Operator(kind, (), (out,), (), op.location)) for i, out in enumerate(op.outputs)]
    work.alias(name, [Value(part) for part in parts])


def _named(work: Rebuild, op: Operator, operands: tuple[Value, ...]) -> tuple[Operator, tuple[Value, ...]]:
    """The operator under the kind that says what it does, and its operands in that kind's order."""
    if op.kind == "sum_n" and len(operands) == 2:
        op = replace(op, kind="add")
    if op.kind == "add" and len(operands) == 2:
        for data, vector in (operands, operands[::-1]):
            if _is_channel_vector(work, vector) and _along_one_axis(work.type_of(vector), op.outputs[0], work.type_of(data)):
                return replace(op, kind="bias"), (data, vector)
    if op.kind == "transpose":
        op, operands = _composed(work, op, operands)
    if op.kind == "transpose" and _moves_nothing(op):
        return replace(op, kind="reshape", attributes=tuple(a for a in op.attributes if a[0] != "perm")), operands
    if op.kind == "reduce_mean" and _is_over_images(op):
        return replace(op, kind="global_average_pool", attributes=()), operands
    if op.kind == "softmax" and not op.attribute("causal") and _is_under_triangle(work, operands[0]):
        return replace(
            op, attributes=tuple(sorted((*(a for a in op.attributes if a[0] != "causal"), ("causal", True))))
        ), operands
    return op, operands


def _composed(work: Rebuild, op: Operator, operands: tuple[Value, ...]) -> tuple[Operator, tuple[Value, ...]]:
    """A transpose of a transpose as one, of what the first one reads."""
    before = work.ops[operands[0].node]
    first, then = before.attribute("perm"), op.attribute("perm")
    if before.kind != "transpose" or not isinstance(first, tuple) or not isinstance(then, tuple):
        return op, operands
    both = tuple(int(first[int(axis)]) for axis in then)
    source = work.reads[operands[0].node]
    told = {**dict(op.attributes), "perm": both}
    return replace(op, inputs=(work.type_of(source[0]),), attributes=attributes(**told)), source


def _is_over_images(op: Operator) -> bool:
    """Whether a mean is over all axes of an image behind batch and channels, and keeps them."""
    seen, out, axes = op.inputs[0].shape, op.outputs[0].shape, op.attribute("axes")
    if seen is None or out is None or len(seen) < 4 or len(out) != len(seen) or not isinstance(axes, tuple):
        return False
    return sorted(int(axis) % len(seen) for axis in axes) == list(range(2, len(seen)))


def _is_triangle(work: Rebuild, value: Value) -> bool:
    return TRIANGLE in work.ops[value.node].attributes


def _is_under_triangle(work: Rebuild, value: Value) -> bool:
    """Whether a square triangle is among what makes attention scores of a product."""
    op = work.ops[value.node]
    while op.kind in ATTENTION_POINTWISE or op.kind in VIEW:
        operands = work.reads[value.node]
        for mask in operands[: 3 if op.kind == "where" else 2]:
            shape = work.type_of(mask).shape or ()
            if _is_triangle(work, mask) and len(shape) > 1 and shape[-1] == shape[-2]:
                return True
        widest = max(operands, key=lambda each: work.type_of(each).numel if work.type_of(each).is_static else 0)
        value, op = widest, work.ops[widest.node]
    return False


def _moves_nothing(op: Operator) -> bool:
    """Whether a transpose leaves all elements in their order: it moves axes of one element only."""
    perm, seen = op.attribute("perm"), op.inputs[0]
    if not isinstance(perm, tuple) or not seen.is_static:
        return False
    wide = [int(axis) for axis in perm if seen.dims()[int(axis)] != 1]
    return wide == sorted(wide)


def _is_channel_vector(work: Rebuild, value: Value) -> bool:
    """Whether the value is a parameter (a bias is learned; a constant of that shape is a mask or a table)."""
    return work.ops[value.node].kind == "parameter"


def _along_one_axis(vector: TensorType, out: TensorType, data: TensorType) -> bool:
    """Whether the vector has one element per channel: per last axis, or per second axis of an image."""
    shape = data.shape
    if shape is None or out.shape != shape or vector.shape is None or len(shape) < 2:
        return False
    padded = (1,) * (len(shape) - len(vector.shape)) + vector.shape
    wide = [axis for axis, size in enumerate(padded) if size != 1]
    return len(wide) == 1 and wide[0] in (1, len(shape) - 1) and padded[wide[0]] == shape[wide[0]]
