"""In which formats a network is served: what its own contractions multiply, and the nearest that a target offers.

A contraction has one of four forms: `quantized` (both operands hold quantised elements, or come from a dequantize of such),
`weight-only` (its weight does), `float` (any other with a floating operand) and `integer` (whole numbers, not quantised).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edpc.errors import UsageError
from edpc.ir import DTYPE_BITS, Graph, TensorType, Value
from edpc.operators import CONTRACTION, VIEW
from edpc.target import Precision, Target

# Floating types that a network's activations have; narrower ones are quantised.
WIDE_FLOATS = frozenset({"fp64", "fp32", "fp16", "bf16"})
ARITHMETIC_OF = {"fp8e4m3": "fp8", "fp8e5m2": "fp8", "fp8e8m0": "fp8", "fp4": "fp4"} | {
    f"{sign}int{bits}": "int8" if bits == 8 else "int4" for sign in ("", "u") for bits in (2, 4, 8)
}
# Arithmetic formats of floating numbers; what is not among them is integer arithmetic.
FLOAT_ARITHMETIC = frozenset({"fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4"})
# What is tried, in order, where a target does not offer a precision: wider before narrower, floats stay floats if they can.
NEAREST: Mapping[str, tuple[str, ...]] = {
    "fp64": ("fp32", "tf32", "bf16", "fp16"),
    "fp32": ("tf32", "bf16", "fp16", "fp8", "int8"),
    "tf32": ("fp32", "bf16", "fp16", "fp8", "int8"),
    "bf16": ("fp16", "tf32", "fp32", "fp8", "int8"),
    "fp16": ("bf16", "tf32", "fp32", "fp8", "int8"),
    "fp8": ("int8", "bf16", "fp16", "tf32", "fp32"),
    "int8": ("fp8", "bf16", "fp16", "tf32", "fp32"),
    "fp4": ("fp8", "int4", "int8", "bf16", "fp16", "tf32", "fp32"),
    "int4": ("int8", "fp8", "bf16", "fp16", "tf32", "fp32"),
}
# Rearrangements behind which a dequantize is still the maker of a contraction's operand.
REARRANGED = VIEW | {"transpose"}


@dataclass(frozen=True, slots=True)
class Form:
    """How a contraction multiplies: its form, and the arithmetic format of its operands as the model has them."""

    name: str
    precision: str


def maker_of(graph: Graph, value: Value) -> tuple[TensorType, bool]:
    """The type in which a value is stored, before its dequantisation if it has one, and whether that is a parameter."""
    stored = graph.type_of(value)
    while graph.op(value.node).kind in REARRANGED:
        value = graph.operands(value.node)[0]
    if graph.op(value.node).kind == "dequantize":
        value = graph.operands(value.node)[0]
        stored = graph.type_of(value)
        while graph.op(value.node).kind in REARRANGED:
            value = graph.operands(value.node)[0]
    return stored, graph.op(value.node).kind == "parameter"


def form_of(graph: Graph, name: str) -> Form:
    """The form of a contraction."""
    makers = [maker_of(graph, value) for value in graph.operands(name)[:2]]
    stored = [found.dtype for found, _ in makers]
    if stored and all(dtype in ARITHMETIC_OF for dtype in stored):
        # The wider of the two operands decides: int4 weights under int8 activations multiply as int8.
        return Form("quantized", ARITHMETIC_OF[max(stored, key=DTYPE_BITS.__getitem__)])
    seen = [t.dtype for t in graph.op(name).inputs[:2] if t.dtype in WIDE_FLOATS]
    if not seen:
        return Form("integer", "int32")
    is_narrow = any(found.dtype in ARITHMETIC_OF and is_weight for found, is_weight in makers)
    return Form("weight-only" if is_narrow else "float", max(seen, key=DTYPE_BITS.__getitem__))


def forms(graph: Graph) -> dict[str, Form]:
    """The form of every contraction, in execution order."""
    return {name: form_of(graph, name) for name in graph.order() if graph.op(name).kind in CONTRACTION}


def own_precision(graph: Graph, found: Mapping[str, Form]) -> str:
    """The precision a network has by itself: what its quantised contractions multiply, else its most common float, else fp32."""
    quantized = Counter(form.precision for form in found.values() if form.name == "quantized")
    floats = Counter(form.precision for form in found.values() if form.name in ("float", "weight-only"))
    if not quantized and not floats:
        dtypes = (out.dtype for op in map(graph.op, graph.order()) for out in op.outputs)
        floats = Counter(dtype for dtype in dtypes if dtype in WIDE_FLOATS)
    # most_common keeps first come first among equals, and the order is the network's, so the answer is always the same
    return next((precision for precision, _ in (quantized or floats).most_common(1)), "fp32")


def served_as(wanted: str, target: Target) -> tuple[str, Precision]:
    """The precision the target offers that is nearest to the one wanted, and what it means there.

    Raises:
        UsageError: `wanted` is no precision, or nothing near is offered.
    """
    if wanted not in NEAREST and wanted not in target.precisions:
        raise UsageError(f"there is no precision {wanted!r}; target {target.name} offers {', '.join(target.precisions)}")
    for name in (wanted, *NEAREST.get(wanted, ())):
        if name in target.precisions:
            return name, target.precisions[name]
    raise UsageError(f"target {target.name} offers nothing near {wanted}; it offers {', '.join(target.precisions) or 'nothing'}")


def retyped(found: TensorType, dtype: str) -> TensorType:
    """A floating activation in another element type; anything else as it is."""
    return TensorType(dtype, found.shape) if found.dtype in WIDE_FLOATS and found.dtype != dtype else found


def row_scales(found: TensorType, kind: str, slot: int) -> TensorType:
    """The scales of a tensor quantised dynamically: one per row that a product sums over, one per image of a convolution."""
    if found.shape is None or not found.shape:
        return TensorType("fp32", found.shape)
    if kind in ("conv", "conv_transpose", "deform_conv"):
        return TensorType("fp32", (found.shape[0], *(1 for _ in found.shape[1:])))
    summed = len(found.shape) - 1 if slot == 0 else max(len(found.shape) - 2, 0)
    return TensorType("fp32", tuple(1 if axis == summed else size for axis, size in enumerate(found.shape)))


def arithmetic(dtype: str) -> str:
    """The arithmetic format of an element type."""
    return ARITHMETIC_OF.get(dtype, dtype if dtype in WIDE_FLOATS else "int32")
