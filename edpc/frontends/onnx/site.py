"""What a lowering sees: the node it lowers, the values in scope, and how to add operators for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edpc.errors import ModelError
from edpc.frontends.onnx.builder import MAX_SHOWN_ELEMENTS, Builder
from edpc.frontends.onnx.locations import locate, operator_type
from edpc.frontends.onnx.typed import TypedGraph
from edpc.frontends.onnx.values import attribute_values
from edpc.ir import FLOAT_DTYPES, Attribute, Location, TensorType, Value

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

# Element types that weights are stored in. Integers of 32 bits are weights only as the bias of a quantised contraction.
_WEIGHT_DTYPES = FLOAT_DTYPES | {"int8", "uint8", "int4", "uint4", "int2", "uint2", "int16", "uint16"}

# Operators that only rearrange their first operand, those that encode it by scales, those that only look at its shape.
_LAYOUT_ONLY = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "CastLike"})
_ENCODINGS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SIZES = frozenset({"Shape", "Size"})

# Operators whose result is a weight of its own: a model without weights has them in place of initializers.
_FILLS = frozenset({"Constant", "ConstantOfShape"})

# An operator whose type nobody could infer still has results.
_UNTYPED = TensorType("fp32", None)


@dataclass(slots=True, eq=False)
class Offline:
    """A value that is known before the network runs: an initializer, or computed from such values only.

    Attributes:
        name: its name in the model.
        type: its tensor type.
        value: its elements, where they are few and known.
        producer: the node that computes it; None for an initializer.
        roots: the weights of the model that it is computed from: itself, for most.
        is_triangle: whether a square triangle was cut from what it is computed from, as causal masks are made.
        made: the operator that stands for it, once somebody reads it at run time.
    """

    name: str
    type: TensorType
    value: NDArray[Any] | None
    producer: Site | None
    roots: frozenset[Offline] = frozenset()
    is_triangle: bool = False
    made: Value | None = None

    @property
    def is_weight(self) -> bool:
        """Whether it is weight data rather than a scalar, an index, a mask or a table computed from those."""
        return bool(self.roots)


Entry = Value | Offline
Lowering = Callable[["Site"], None]
Table = Mapping[tuple[str, str], Lowering]


class Scope:
    """The values one ONNX graph can name: its own, then those of the graphs around it."""

    def __init__(
        self, typed: TypedGraph, builder: Builder, opsets: dict[str, int], table: Table, outer: Scope | None = None
    ) -> None:
        self.typed = typed
        self.builder = builder
        self.opsets = opsets
        self.table = table
        self.outer = outer
        self.entries: dict[str, Entry] = {}
        uses = Counter(node.name for node in typed.nodes)
        self._shared_names = {name for name, count in uses.items() if count > 1}

    def find(self, name: str) -> Entry:
        """What the name stands for.

        Raises:
            ModelError: nothing produces it.
        """
        scope: Scope | None = self
        while scope is not None:
            entry = scope.entries.get(name)
            if entry is not None:
                return entry
            if name in scope.typed.parameters or name in scope.typed.constants:
                return scope.know(name, None)
            scope = scope.outer
        raise ModelError(f"graph {self.typed.name!r} reads the value {name!r}, which nothing produces; the model is incomplete")

    def know(self, name: str, producer: Site | None) -> Offline:
        """Enters a value that is known before the network runs."""
        entry = Offline(name, self.typed.types.get(name, _UNTYPED), self.typed.constants.get(name), producer)
        entry.roots = self._roots(entry)
        entry.is_triangle = self._is_triangle(entry)
        self.entries[name] = entry
        return entry

    def _is_triangle(self, entry: Offline) -> bool:
        """Whether the value is a triangle of a square, or made from one element by element."""
        square = (entry.type.shape or ())[-2:]
        if entry.producer is None or len(square) < 2 or square[0] != square[1]:
            return False
        if entry.producer.node.op_type == "Trilu":
            return True
        sources = [self.find(name) for name in entry.producer.inputs if name]
        return any(isinstance(s, Offline) and s.is_triangle and (s.type.shape or ())[-2:] == square for s in sources)

    def _roots(self, entry: Offline) -> frozenset[Offline]:
        """The weights of the model that a value is computed from."""
        site = entry.producer
        if entry.type.numel == 1 or entry.type.dtype not in _WEIGHT_DTYPES:
            return frozenset()
        if site is None or site.node.op_type in _FILLS:
            return frozenset({entry})
        if site.node.op_type in _SIZES:
            return frozenset()
        sources = [self.find(name) for name in site.inputs if name]
        known = [source for source in sources if isinstance(source, Offline)]
        if site.node.op_type in _ENCODINGS:  # the stored numbers, be they those of a bias in int32; not the scales
            return known[0].roots or frozenset(known[:1])
        return frozenset().union(*(source.roots for source in known))

    def value(self, entry: Entry, stored: bool = False) -> Value:
        """The value as an operand at run time; a known tensor becomes a parameter or a constant when first read.

        Args:
            entry: what is read.
            stored: whether the reader is a contraction, which must see the precision a quantised weight is stored in:
                its dequantisation is then an operator, not something done before the network runs.
        """
        if isinstance(entry, Value):
            return entry
        if entry.made is None:
            quantised = _dequantisation(entry) if stored else None
            entry.made = self._source(entry) if quantised is None else self._dequantize(entry, quantised)
        return entry.made

    def weight(self, entry: Offline, shape_and_type: TensorType | None = None, counted: bool = True) -> Value:
        """The known tensor as a parameter, whatever its element type.

        Args:
            entry: the tensor.
            shape_and_type: its logical type where the model stores it packed.
            counted: whether it counts among the model's parameters (scales and zero points do not).
        """
        if entry.made is None:
            kept = entry.type
            entry.type = shape_and_type or kept
            entry.roots = entry.roots or frozenset({entry} if entry.producer is None else ())
            entry.made = self._source(entry, weight=entry.type.numel > 1, counted=counted)
        return entry.made

    def body(self, typed: TypedGraph) -> Scope:
        """A scope for a body that stands in this graph."""
        return Scope(typed, self.builder, self.opsets, self.table, self)

    def stem(self, node: onnx.NodeProto) -> str:
        """The node's name where that is one of a kind, else that of its first result."""
        if node.name and node.name not in self._shared_names:
            return node.name
        return next((name for name in node.output if name), node.op_type)

    def _source(self, entry: Offline, weight: bool = False, counted: bool = True) -> Value:
        location = Location(entry.name) if entry.producer is None else entry.producer.location_of(entry.name)
        options: dict[str, Attribute] = {"triangle": True} if entry.is_triangle else {}
        if weight or entry.is_weight:
            made = self.builder.source(entry.name, "parameter", entry.type, location, **options)
            if counted:
                self.builder.weights[made.node] = entry.roots
            return made
        return self.builder.source(entry.name, "constant", entry.type, location, **_shown(entry.value), **options)

    def _dequantize(self, entry: Offline, quantised: Site) -> Value:
        """Adds a parameter of the stored type in the layout the reader wants, and its dequantisation."""
        stored = quantised.entry(0)
        assert isinstance(stored, Offline)  # every operand of an offline node is offline
        if entry.producer is not quantised:  # rearranged afterwards: that is done once, on the stored data
            stored = Offline(stored.name, TensorType(stored.type.dtype, entry.type.shape), None, stored.producer, stored.roots)
        operands = [self.weight(stored)]
        for slot in (1, 2):
            if quantised.has(slot):
                scale = quantised.entry(slot)
                operands.append(self.weight(scale, counted=False) if isinstance(scale, Offline) else scale)
        name = self.builder.add(quantised.stem, "dequantize", operands, (entry.type,), quantised.location, {})
        return Value(name)


class Site:
    """One node of the model, about to be lowered.

    Attributes:
        node: the node. index: its place in its graph. scope: the values it can name.
    """

    __slots__ = ("_attributes", "_location", "_stem", "index", "inputs", "node", "outputs", "scope")

    def __init__(self, scope: Scope, index: int, node: onnx.NodeProto) -> None:
        self.scope = scope
        self.index = index
        self.node = node
        self.inputs: list[str] = list(node.input)
        self.outputs: list[str] = list(node.output)
        self._stem: str | None = None
        self._location: Location | None = None
        self._attributes: dict[str, Any] | None = None

    @property
    def stem(self) -> str:
        """What its operators are named after."""
        if self._stem is None:
            self._stem = self.scope.stem(self.node)
        return self._stem

    @property
    def location(self) -> Location:
        """Where its operators come from."""
        if self._location is None:
            self._location = locate(self.node, self.stem)
        return self._location

    @property
    def attributes(self) -> dict[str, Any]:
        """Its ONNX attributes: numbers, strings and tuples of them; tensors and graphs as they are."""
        if self._attributes is None:
            given = attribute_values(self.node)
            self._attributes = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return self._attributes

    @property
    def version(self) -> int:
        """The opset version its domain is imported with."""
        opsets = self.scope.opsets
        return opsets.get(self.node.domain, opsets.get("", 1))

    # --- operands -----------------------------------------------------------------------------------------------

    def has(self, slot: int) -> bool:
        """Whether an operand is given in that slot."""
        return slot < len(self.inputs) and self.inputs[slot] != ""

    def entry(self, slot: int) -> Entry:
        """What the operand in that slot stands for.

        Raises:
            ModelError: it is absent although the operator needs it.
        """
        if not self.has(slot):
            raise ModelError(f"node {self.stem!r} ({operator_type(self.node)}) lacks operand {slot}; the model is invalid")
        return self.scope.find(self.inputs[slot])

    def value(self, slot: int, stored: bool = False) -> Value:
        """The operand in that slot; `stored` as in `Scope.value`."""
        return self.scope.value(self.entry(slot), stored)

    def optional(self, slot: int) -> Value | None:
        """The operand in that slot, None where it is absent."""
        return self.value(slot) if self.has(slot) else None

    def values(self, slots: Iterable[int]) -> list[Value]:
        """The operands of these slots that are given."""
        return [self.value(slot) for slot in slots if self.has(slot)]

    def scales(self, slots: Iterable[int]) -> list[Value]:
        """Operands that are scales and zero points: read like weights, not counted among the model's parameters."""
        found = []
        for slot in slots:
            if self.has(slot):
                entry = self.entry(slot)
                found.append(self.scope.weight(entry, counted=False) if isinstance(entry, Offline) else entry)
        return found

    def type(self, slot: int) -> TensorType:
        """The type of the operand in that slot."""
        entry = self.entry(slot)
        return entry.type if isinstance(entry, Offline) else self.type_of(entry)

    def type_of(self, value: Value) -> TensorType:
        """The type of any value."""
        return self.scope.builder.graph.type_of(value)

    def constant(self, slot: int) -> NDArray[Any] | None:
        """The elements of the operand in that slot where they are known."""
        if not self.has(slot):
            return None
        entry = self.entry(slot)
        return entry.value if isinstance(entry, Offline) else None

    def integer(self, slot: int) -> int | None:
        """The operand in that slot as one integer, where it is known and one."""
        known = self.constant(slot)
        return int(known.reshape(-1)[0]) if known is not None and known.size == 1 else None

    def integers(self, slot: int) -> tuple[int, ...] | None:
        """The operand in that slot as integers, where they are known."""
        known = self.constant(slot)
        return None if known is None else tuple(int(x) for x in known.reshape(-1))

    # --- results ------------------------------------------------------------------------------------------------

    def wants(self, result: int) -> bool:
        """Whether the node names that result."""
        return result < len(self.outputs) and self.outputs[result] != ""

    def result_type(self, result: int = 0) -> TensorType:
        """The inferred type of a result."""
        return self.scope.typed.types.get(self.outputs[result], _UNTYPED)

    def bind(self, result: int, value: Value) -> None:
        """Says what a result of the node is."""
        if self.wants(result):
            self.scope.entries[self.outputs[result]] = value

    def emit(
        self, kind: str, operands: Sequence[Value], outputs: Sequence[TensorType], part: str = "", /, **options: Attribute
    ) -> Value:
        """Adds an operator of this node; answers its first result."""
        stem = f"{self.stem}.{part}" if part else self.stem
        return Value(self.scope.builder.add(stem, kind, operands, outputs, self.location, options))

    def emit_results(self, kind: str, operands: Sequence[Value], /, **options: Attribute) -> None:
        """Adds one operator that computes every result of the node."""
        wanted = [result for result in range(len(self.outputs)) if self.wants(result)]
        first = self.emit(kind, operands, [self.result_type(result) for result in wanted], "", **options)
        for number, result in enumerate(wanted):
            self.bind(result, Value(first.node, number))

    def number(self, stem: str, value: float, dtype: str) -> Value:
        """Adds a scalar constant."""
        return self.scope.builder.source(f"{self.stem}.{stem}", "constant", TensorType(dtype, ()), self.location, value=(value,))

    def location_of(self, result: str) -> Location:
        """Where a result that was computed before the network runs comes from."""
        return Location(result, operator_type(self.node), self.location.module_path)

    def note(self, text: str) -> None:
        """Adds a note about this node."""
        self.scope.builder.note(f"{self.stem} ({operator_type(self.node)}): {text}")


def _dequantisation(entry: Offline) -> Site | None:
    """The node that dequantises the tensor's stored integers, looking through changes of layout."""
    site = entry.producer
    while site is not None and site.has(0):
        if site.node.op_type == "DequantizeLinear":
            return site
        first = site.entry(0)
        if site.node.op_type not in _LAYOUT_ONLY or not isinstance(first, Offline):
            return None
        site = first.producer
    return None


def _shown(value: np.ndarray[Any, Any] | None) -> dict[str, Attribute]:
    """The `value` attribute of a constant: the elements, where they are few and can be compared with themselves."""
    if value is None or not 0 < value.size <= MAX_SHOWN_ELEMENTS:
        return {}
    flat = value.reshape(-1)
    if flat.dtype.kind in "biu":
        return {"value": tuple(int(x) for x in flat)}
    if flat.dtype.kind == "f":
        numbers = tuple(float(x) for x in flat)
        return {} if any(x != x for x in numbers) else {"value": numbers}
    return {}
