"""`place-copies`: rearrangements are views, and copies stand where a framework that launches kernel by kernel makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from edpc.ir import Graph, Operator, TensorType, Value, attributes
from edpc.ir.rebuild import Rebuild
from edpc.operators import CONVOLUTION, ELEMENTWISE, MATMUL, NORMALIZATION, SOFTMAX
from edpc.pipeline.base import Fact, Pass, PassContext
from edpc.strides import Strides, dense, fills_memory, in_order, is_dense, is_matrix_stack, viewed

# Rearrangements that an eager framework does by strides alone, and the views they are then.
BY_STRIDES = {"transpose": "view_transpose", "slice": "view_slice", "split": "view_split"}
# Kernels that walk rows without gaps.
ROW_WISE = NORMALIZATION | SOFTMAX


@dataclass(frozen=True)
class PlaceCopies(Pass):
    """Where kernels are launched one by one, every copy of a layout is an operator and every other rearrangement a view.

    The rules are those of ATen: a reshape copies where strides do not allow a view; a product of more than two axes copies
    operands whose leading axes do not merge into one step between matrices; row-wise kernels and convolutions copy operands with
    gaps; elementwise kernels take any strides, keep those of their operand, and are marked `uneven` where operands do not lie
    alike, which costs them their vector instructions. Attention that is one call reads by strides.
    """

    name: ClassVar[str] = "place-copies"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})
    produces: ClassVar[frozenset[Fact]] = frozenset()
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN, Fact.PRECISION})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Lays out every value, in one walk; nothing where the target's kernels are compiled."""
        target = ctx.need_target(self.name)
        if "launch" not in target.settings or target.setting("launch") != "eager":
            return False
        layout = _Layout(Rebuild(graph), _attention_calls(graph))
        for name in graph.order():
            layout.rewrite(name)
        return layout.work.finish()


def _attention_calls(graph: Graph) -> frozenset[str]:
    """Source names of single calls that are a softmax between products."""
    kinds: dict[str, set[str]] = {}
    for _, op in graph.items():
        if op.location is not None and op.is_compute:
            kinds.setdefault(op.location.source_name, set()).add(op.kind)
    return frozenset(name for name, found in kinds.items() if found & SOFTMAX and found & MATMUL)


@dataclass
class _Layout:
    """One rewriting: the graph under way, and the strides of its values that do not lie row by row."""

    work: Rebuild
    attention: frozenset[str]
    strides: dict[Value, Strides] = field(default_factory=dict)
    copies: dict[tuple[Value, tuple[int, ...]], Value] = field(default_factory=dict)

    def rewrite(self, name: str) -> None:
        """One operator, whose operands have been rewritten."""
        op, operands = self.work.old.op(name), self.work.operands(name)
        if not operands or not op.is_compute or not all(t.is_static for t in (*op.inputs[:1], *op.outputs)):
            self.work.keep(name, op, operands)
            return
        kind = op.kind
        if kind in BY_STRIDES or kind in BY_STRIDES.values():
            op = self._by_strides(name, op, operands[0])
        elif kind in ("reshape", "view_expand", "identity"):
            operands = (self._viewable(name, op, operands[0]), *operands[1:])
        elif kind in MATMUL and not self._is_attention(op):
            operands = self._product(name, op, operands)
        elif kind in ROW_WISE or kind in CONVOLUTION:
            operands = (self._without_gaps(name, op, operands[0], channels_last=kind in CONVOLUTION), *operands[1:])
        elif kind in ELEMENTWISE:
            op = self._elementwise(name, op, operands)
        self.work.keep(name, op, operands)

    def _lies(self, value: Value) -> tuple[tuple[int, ...], Strides]:
        """Shape and strides of a new value."""
        shape = self.work.type_of(value).dims()
        return shape, self.strides.get(value, dense(shape))

    def _is_attention(self, op: Operator) -> bool:
        return op.location is not None and op.location.source_name in self.attention

    def _by_strides(self, name: str, op: Operator, x: Value) -> Operator:
        """A permutation, or parts along an axis, as a view; a flip or a roll moves elements and stays a copy."""
        shape, strides = self._lies(x)
        perm = op.attribute("perm")
        if "transpose" in op.kind:
            if not isinstance(perm, tuple) or sorted(perm) != list(range(len(shape))):
                return op
            strides = tuple(strides[int(axis)] for axis in perm)
        elif "slice" in op.kind and op.outputs[0].numel == self.work.type_of(x).numel:
            return op
        for result, out in enumerate(op.outputs):
            if len(out.dims()) != len(strides):
                return op
            self.strides[Value(name, result)] = strides
        return op.having(kind=BY_STRIDES.get(op.kind, op.kind))

    def _viewable(self, name: str, op: Operator, x: Value) -> Value:
        """The operand of a view: copied where its strides do not allow it."""
        shape, strides = self._lies(x)
        want = op.outputs[0].dims()
        if op.kind == "view_expand":
            lead = len(want) - len(shape)
            kept = (0 if have == 1 != size else step for have, step, size in zip(shape, strides, want[lead:], strict=True))
            self.strides[Value(name)] = (*(0,) * lead, *kept)
            return x
        seen = viewed(shape, strides, want)
        if seen is None:
            return self._copy(name, op, x)
        self.strides[Value(name)] = seen
        return x

    def _product(self, name: str, op: Operator, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        """The operands of a matrix product: stacks of as many matrices each, or rows of one."""
        types = [self.work.type_of(value) for value in operands[:2]]
        ranks = [len(t.dims()) for t in types]
        if min(ranks, default=0) < 2 or len(ranks) < 2 or not all(t.is_static for t in types):
            return operands
        found = list(operands)
        for slot, value in enumerate(operands[:2]):
            shape, strides = self._lies(value)
            if ranks[1 - slot] == 2:  # rows of every matrix are rows of one
                fits = viewed(shape, strides, (-(-types[slot].numel // max(shape[-1], 1)), shape[-1])) is not None
                fits = fits and (1 in strides[-2:] or shape[-1] == 1)
                want = shape
            else:
                want = (*op.outputs[0].dims()[:-2], *shape[-2:])
                lead = len(want) - len(shape)
                spread = (0 if have == 1 != size else step for have, step, size in zip(shape, strides, want[lead:], strict=True))
                fits = is_matrix_stack(want, (*(0,) * lead, *spread))
            if not fits:
                found[slot] = self._copy(name, op, value, want)
        return tuple(found)

    def _without_gaps(self, name: str, op: Operator, x: Value, channels_last: bool) -> Value:
        """The operand of a kernel that walks rows; a convolution also takes images whose channels come last."""
        shape, strides = self._lies(x)
        rank = len(shape)
        last = channels_last and fills_memory(shape, strides) and in_order(shape, strides) == (0, *range(2, rank), 1)
        return x if last or is_dense(shape, strides) else self._copy(name, op, x)

    def _elementwise(self, name: str, op: Operator, operands: tuple[Value, ...]) -> Operator:
        """The result lies as the first operand of its shape that fills memory does."""
        out = op.outputs[0].dims()
        lie = [self._lies(value) for value in operands if not self._is_number(value)]
        kept = next((strides for shape, strides in lie if shape == out and fills_memory(shape, strides)), dense(out))
        if not is_dense(out, kept):
            self.strides[Value(name)] = kept
        if all(shape == out and _alike(out, strides, kept) for shape, strides in lie):
            return op
        return op.having(attributes=attributes(**{**dict(op.attributes), "uneven": True}))

    def _is_number(self, value: Value) -> bool:
        """Whether it is a number that travels with the launch rather than a tensor of one element."""
        op = self.work.ops[value.node]
        return op.kind == "constant" and op.attribute("value") is not None and op.outputs[0].numel == 1

    def _copy(self, name: str, op: Operator, x: Value, want: tuple[int, ...] | None = None) -> Value:
        """The value laid out row by row, spread to a shape; copied once for all who want it so in a row."""
        shape, strides = self._lies(x)
        want = shape if want is None else want
        if (x, want) in self.copies:
            return self.copies[x, want]
        told = {"perm": in_order(shape, strides)}
        if runs := op.attribute("executions"):
            told["executions"] = runs  # type: ignore[assignment]
        out = TensorType(self.work.type_of(x).dtype, want)
        copied = Operator("contiguous", (), (out,), attributes(**told), op.location)
        made = Value(self.work.insert(f"{name}.contiguous", copied, (x,)))
        if op.kind not in MATMUL:  # a product makes its copy inside the call and drops it
            self.copies[x, want] = made
        return made


def _alike(shape: tuple[int, ...], one: Strides, other: Strides) -> bool:
    """Whether two layouts of a shape are the same, axes of one element aside."""
    return all(size == 1 or a == b for size, a, b in zip(shape, one, other, strict=True))
