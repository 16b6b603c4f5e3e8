"""`apply-precision`: the types are those the network is served in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from edpc.errors import UsageError
from edpc.ir import Graph, Location, Operator, TensorType, Value, attributes
from edpc.ir.rebuild import Rebuild
from edpc.operators import CONTRACTION, RECURRENT
from edpc.pipeline.base import Fact, Pass, PassContext
from edpc.serving import FLOAT_ARITHMETIC, WIDE_FLOATS, Form, arithmetic, forms, own_precision, retyped, row_scales, served_as
from edpc.target import Precision, Target

# Contractions that take the scales of a quantised operand as a trailing one; the attribute says whether slot 2 is an addend.
TAKES_SCALES = {"matmul": "addend", "conv": "bias", "conv_transpose": "bias"}


@dataclass(frozen=True)
class ApplyPrecision(Pass):
    """Tensors have the types the network is served in, and every contraction names the format it multiplies in.

    What is asked for, or the model's own precision, is mapped to the nearest that the target offers; `graph.info` says which and
    why. Where contractions multiply a narrower format than activations have, operands are quantised dynamically, once per tensor.
    What the model has quantised itself stays as it is, and so does a graph that says what it is served in.
    """

    name: ClassVar[str] = "apply-precision"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})
    produces: ClassVar[frozenset[Fact]] = frozenset({Fact.PRECISION})
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Decides, then rewrites the graph in one walk."""
        target = ctx.need_target(self.name)
        if graph.info.precision:
            if ctx.precision and served_as(ctx.precision, target)[0] != graph.info.precision:
                raise UsageError(
                    f"this graph is served in {graph.info.precision} already; serve the model itself in {ctx.precision}"
                )
            return False
        found = forms(graph)
        own = own_precision(graph, found)
        wanted = ctx.precision or own
        name, served = served_as(wanted, target)
        notes: list[str] = []
        is_quantized = any(form.name in ("quantized", "weight-only") for form in found.values())
        if is_quantized and wanted != own and served.operands != served.activations:
            notes.append(f"the model came quantised and is served in its own {own}, not in {wanted}")
            wanted = own
            name, served = served_as(wanted, target)
        change = _Serving(Rebuild(graph), target, served, found, is_quantized)
        for each in graph.order():
            change.rewrite(each)
        changed = change.work.finish()
        if name != wanted:
            notes.append(f"{wanted} is not native to {target.name}: served as {name}")
        # What a target says of a precision it quantises for is not true of a network that came quantised.
        if served.note and not (is_quantized and served.operands != served.activations):
            notes.append(served.note)
        notes += change.notes(name)
        info = graph.info
        told = (*info.notes, *(note for note in notes if note not in info.notes))
        graph.info = replace(info, precision=name, notes=told)
        return changed or graph.info != info


@dataclass
class _Serving:
    """One rewriting: the graph under way and what it was decided to be served in.

    A model that came quantised means the floats it has left: `is_quantized` keeps them from being quantised.
    """

    work: Rebuild
    target: Target
    served: Precision
    forms: dict[str, Form]
    is_quantized: bool
    quantizers: dict[tuple[Value, int], tuple[Value, Value]] = field(default_factory=dict)
    multiplies: dict[str, str] = field(default_factory=dict)

    def rewrite(self, name: str) -> None:
        """One operator, whose operands have been rewritten."""
        work = self.work
        op, operands = work.old.op(name), work.operands(name)
        if op.kind == "parameter" and self._is_weight(name):
            out = TensorType(self.served.weights, op.outputs[0].shape)
            work.keep(name, replace(op, outputs=(out,)), operands)
            return
        outputs = tuple(retyped(out, self.served.activations) for out in op.outputs)
        new = op if op.kind == "quantize_dynamic" or outputs == op.outputs else replace(op, outputs=outputs)
        if op.kind == "cast" and operands and work.type_of(operands[0]) == new.outputs[0]:
            work.alias(name, operands)
            return
        if op.kind in CONTRACTION:
            new, operands = self._contraction(name, new, operands)
        elif op.kind in RECURRENT:
            new = _computes_in(new, self._float_compute())
        work.keep(name, new, operands)

    def notes(self, name: str) -> list[str]:
        """What the report must say of contractions that do not multiply in the format one would expect of that precision."""
        quantized = {each: form for each, form in self.forms.items() if form.name == "quantized"}
        notes = []
        lost = [each for each, form in quantized.items() if self.multiplies[each] != form.precision]
        if lost:
            notes.append(
                f"{len(lost)} quantised contractions run in {self.multiplies[lost[0]]}: "
                f"{self.target.name} does not multiply {quantized[lost[0]].precision}"
            )
        kept = [form.precision for each, form in quantized.items() if self.multiplies[each] == form.precision != name]
        if kept:
            notes.append(f"{len(kept)} contractions came quantised and multiply {kept[0]}")
        floats = [each for each, form in self.forms.items() if form.name == "float"]
        how = self.multiplies[floats[0]] if floats else ""
        if quantized and how in FLOAT_ARITHMETIC:
            notes.append(f"{len(floats)} of {len(self.forms)} contractions run in {how} although the model is quantised")
        return notes

    def _float_compute(self) -> str:
        """The format of floating contractions that nothing is quantised for."""
        same = self.served.operands == self.served.activations
        return self.served.compute if same else arithmetic(self.served.activations)

    def _is_weight(self, name: str) -> bool:
        """Whether the parameter takes the weights' type: floating contractions read it as a factor, and nothing else does.

        A parameter that something else reads too (an embedding that is the last layer's weight) keeps the activations' type.
        """
        graph = self.work.old
        if graph.op(name).outputs[0].dtype not in WIDE_FLOATS:
            return False
        uses = list(graph.uses(name))
        if not uses or self.is_quantized:
            return False
        return all(
            use.slot < 2
            and use.consumer in self.forms
            and self.forms[use.consumer].name == "float"
            and graph.op(graph.operands(use.consumer)[1 - use.slot].node).kind != "parameter"
            for use in uses
        )

    def _contraction(self, name: str, op: Operator, operands: tuple[Value, ...]) -> tuple[Operator, tuple[Value, ...]]:
        """The contraction with the format it multiplies in, reading quantised operands where it must."""
        form = self.forms[name]
        if form.name == "integer":
            self.multiplies[name] = form.precision
            return op, operands
        how = self._float_compute()
        if form.name == "quantized" and form.precision in self.target.precisions:
            how = form.precision
        elif form.name == "float" and self.served.operands != self.served.activations:
            weights = [slot for slot in (0, 1) if self._is_weight(self.work.old.operands(name)[slot].node)]
            if len(weights) == 1:
                op, operands = self._quantized(name, op, operands, 1 - weights[0])
                how = self.served.compute
        self.multiplies[name] = how
        return _computes_in(op, how), operands

    def _quantized(self, name: str, op: Operator, operands: tuple[Value, ...], slot: int) -> tuple[Operator, tuple[Value, ...]]:
        """The contraction reading its activation through a quantiser, which all contractions of that activation share."""
        work, data = self.work, operands[slot]
        if (data, slot) not in self.quantizers:
            seen = work.type_of(data)
            out = (TensorType(self.served.operands, seen.shape), row_scales(seen, op.kind, slot))
            where = op.location or Location(name)
            runs = tuple(pair for pair in op.attributes if pair[0] == "executions")
            made = Operator("quantize_dynamic", (), out, runs, replace(where, source_type="QuantizeDynamic"))
            new = work.insert(f"{name}.quantize", made, [data])
            self.quantizers[data, slot] = (Value(new, 0), Value(new, 1))
        quantized, scales = self.quantizers[data, slot]
        narrow = (*operands[:slot], quantized, *operands[slot + 1 :])
        if op.kind not in TAKES_SCALES:
            return op, narrow
        flag = TAKES_SCALES[op.kind]
        added = bool(op.attribute(flag, len(operands) > 2))
        return replace(op, attributes=attributes(**{**dict(op.attributes), flag: added})), (*narrow, scales)


def _computes_in(op: Operator, precision: str) -> Operator:
    return replace(op, attributes=attributes(**{**dict(op.attributes), "compute_precision": precision}))
