"""The walk that gives every value of a graph its type, and small ones their values."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx

from edpc.errors import ModelError, UsageError
from edpc.frontends.onnx import control
from edpc.frontends.onnx.fold import FOLDERS, FROM_TYPE, Call, Partial, fold, fold_partial, partial_shape
from edpc.frontends.onnx.inference import CONTRADICTIONS, Inferrer
from edpc.frontends.onnx.names import did_you_mean, node_label, shown, text
from edpc.frontends.onnx.order import Node, ordered
from edpc.frontends.onnx.overrides import Bound, printable, size_of
from edpc.frontends.onnx.scope import Scope
from edpc.frontends.onnx.typed import MAX_FOLDED_ELEMENTS, TypedGraph
from edpc.frontends.onnx.values import (
    Container,
    InvalidValueError,
    Type,
    as_tensor,
    attribute_values,
    checked_shape,
    declared_dims,
    element_of,
    from_proto,
    is_static,
    tensor_type,
    tensor_value,
)
from edpc.frontends.onnx.wire import MAX_GRAPH_DEPTH
from edpc.ir.types import TensorType


class Typer:
    """One walk over a model: what all its graphs share."""

    def __init__(self, source: str, opsets: dict[str, int], bound: Bound, trip_count: dict[str, int]) -> None:
        self.source = source
        self.opsets = opsets
        self.bound = bound
        self.trip_count = trip_count
        self.loops: set[str] = set()
        self.retypings = 0
        # How many branches that are never taken the walk stands in.
        self.dead_code = 0
        self.notes: list[str] = []
        self.inferrer = Inferrer(opsets)
        # The last Reshape whose -1 had to take in a changed batch: the likely reason when a later node contradicts.
        self.suspect = ""
        # The first Reshape that was taken with the new batch instead of the old one it spells out.
        self.respelled = ""

    # --- graphs ----------------------------------------------------------------------------------------------

    def graph(self, graph: onnx.GraphProto, outer: Scope | None, inputs: Sequence[Type | None], where: str) -> Scope:
        """Types one graph, given the types of those of its inputs that are no initializers."""
        scope = Scope(TypedGraph(text(graph.name)), outer)
        if scope.depth > MAX_GRAPH_DEPTH:
            raise ModelError(f"{where} nests graphs more than {MAX_GRAPH_DEPTH} deep; flatten it")
        self._initializers(graph, scope, where)
        names = [value.name for value in graph.input if value.name not in scope.graph.parameters]
        for name, kind in zip(names, inputs, strict=True):
            if not name or type(name) is not str or name in scope.types:
                raise ModelError(f"{where}: two inputs of the graph are called {shown(name)}; give each its own name")
            scope.types[name] = kind if kind is not None else TensorType("fp32", None)
        scope.graph.inputs = names
        nodes = ordered(graph, scope.types, scope.is_outer, where)
        declared = self._declared(graph, where)
        trusted = not self.bound.given
        for index, node in enumerate(nodes):
            scope.graph.nodes.append(node.proto)
            self._node(index, node, scope, declared, trusted, where)
        for value in graph.output:
            if scope.type_of(value.name) is None:
                raise ModelError(
                    f"{where}: nothing produces the graph's output {shown(value.name)}; "
                    f"repair or export the model again{did_you_mean(str(value.name), list(scope.types)[-1000:])}"
                )
            scope.graph.outputs.append(value.name)
        return scope

    def _initializers(self, graph: onnx.GraphProto, scope: Scope, where: str) -> None:
        for tensor in graph.initializer:
            name = tensor.name
            try:
                if not name or type(name) is not str or name in scope.types:
                    raise InvalidValueError("is there twice" if name in scope.types else "has no name")
                scope.types[name] = tensor_type(tensor)
                value = tensor_value(tensor)
            except InvalidValueError as error:
                raise ModelError(f"{where}: initializer {shown(name)} {error}; repair or export the model again") from None
            if value is not None:
                scope.graph.constants[name] = value
            scope.graph.parameters.add(name)
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            try:
                if not name or type(name) is not str or name in scope.types:
                    raise InvalidValueError("is there twice" if name in scope.types else "has no name")
                kind = tensor_type(sparse.values)
                scope.types[name] = TensorType(kind.dtype, checked_shape(tuple(sparse.dims)))
            except InvalidValueError as error:
                raise ModelError(f"{where}: sparse initializer {shown(name)} {error}; repair or export the model again") from None
            scope.graph.parameters.add(name)

    def _declared(self, graph: onnx.GraphProto, where: str) -> dict[str, Type]:
        """Types the file gives for values inside the graph; -1 counts as unknown."""
        declared: dict[str, Type] = {}
        for value in (*graph.value_info, *graph.output):
            try:
                if value.type.WhichOneof("value") not in ("tensor_type", "sparse_tensor_type"):
                    kind = from_proto(value.type)
                    if kind is not None:
                        declared[value.name] = kind
                    continue
                dtype, dims = element_of(value.type), declared_dims(value.type)
            except InvalidValueError as error:
                raise ModelError(f"{where}: value {shown(value.name)} {error}; upgrade onnx or repair the model") from None
            if dtype is None:
                continue
            shape: tuple[int | None, ...] | None = None
            if dims is not None and not self.bound.refixed:
                sizes = tuple(size_of(dim, self.bound.symbols) for dim in dims)
                # Some exporters write -1 for a dimension that they do not know.
                try:
                    shape = checked_shape(tuple(None if size is not None and size < 0 else size for size in sizes))
                except InvalidValueError as error:
                    raise ModelError(f"{where}: value {shown(value.name)} {error}; repair or export the model again") from None
            declared[value.name] = TensorType(dtype, shape)
        return declared

    # --- nodes -----------------------------------------------------------------------------------------------

    def _node(self, index: int, node: Node, scope: Scope, declared: dict[str, Type], trusted: bool, where: str) -> None:
        operator, domain = node.proto.op_type, node.proto.domain
        if domain == "ai.onnx":
            domain = ""
        if operator == "Constant" and not domain and node.outputs:
            self._constant(node, scope, where)
            if node.outputs[0] in scope.graph.constants:
                scope.graph.folded.add(index)
            return
        types = [scope.type_of(name) if name else None for name in node.inputs]
        values = [scope.value_of(name) if name else None for name in node.inputs]
        results: list[Type | None]
        if operator in control.OPERATORS and not domain:
            try:
                results = control.OPERATORS[operator](self, index, node, types, scope, where)
            except CONTRADICTIONS as error:
                raise ModelError(f"{where}: {self._contradiction(node.proto, types, error)}") from None
        elif trusted and all(name and is_static(declared.get(name)) for name in node.outputs):
            results = [declared[name] for name in node.outputs]
        else:
            results = self._inferred(node, domain, types, values, declared, where)
        for slot, name in enumerate(node.outputs):
            if name:
                kind = _merged(results[slot] if slot < len(results) else None, declared.get(name))
                scope.types[name] = kind if kind is not None else TensorType(_guess(types), None)
        if operator in FOLDERS and not domain and node.outputs:
            self._fold(index, node, types, values, scope)

    def _constant(self, node: Node, scope: Scope, where: str) -> None:
        """The type and value of a Constant node, from whichever attribute holds it."""
        name = node.outputs[0]
        attributes = attribute_values(node.proto)
        value: Any = None
        try:
            tensor = attributes.get("value")
            sparse = attributes.get("sparse_value")
            if isinstance(tensor, onnx.TensorProto):
                scope.types[name] = tensor_type(tensor)
                value = tensor_value(tensor)
            elif isinstance(sparse, onnx.SparseTensorProto):
                scope.types[name] = TensorType(tensor_type(sparse.values).dtype, checked_shape(tuple(sparse.dims)))
            else:
                scope.types[name], value = _literal(attributes)
        except InvalidValueError as error:
            raise ModelError(f"{where}: {node_label(node.proto)} {error}; repair or export the model again") from None
        if value is not None:
            scope.graph.constants[name] = value

    def _inferred(
        self, node: Node, domain: str, types: list[Type | None], values: list[Any], declared: dict[str, Type], where: str
    ) -> list[Type | None]:
        """The types of a node's results; where it contradicts its operands, what the file says of them.

        Raises:
            ModelError: it contradicts them and the file says nothing that still holds.
        """
        is_rebatched = self.bound.batch is not None and node.proto.op_type == "Reshape" and not domain and len(values) > 1
        if is_rebatched:
            values = [values[0], self._with_new_batch(node, types[0], values[1]), *values[2:]]
        try:
            results = self.inferrer.infer(node.proto, domain, types, values)
            if is_rebatched:
                self._note_old_batch(node, types[0], values[1])
        except CONTRADICTIONS as error:
            if self.dead_code:
                return [None] * len(node.outputs)
            known = [declared.get(name) for name in node.outputs]
            if self.bound.given or not all(is_static(kind) for kind in known):
                raise ModelError(f"{where}: {self._contradiction(node.proto, types, error)}") from None
            self.notes.append(
                f"{node_label(node.proto)} contradicts its operands ({_reason(error)}): its type is that of the file"
            )
            return list(known)
        return results

    def _contradiction(self, node: onnx.NodeProto, types: list[Type | None], error: Exception) -> str:
        """What to say of a node that cannot take its operands."""
        operands = ", ".join(str(as_tensor(kind)) if kind is not None else "nothing" for kind in types[:6])
        what = f"{node_label(node)} cannot take {operands}: {_reason(error)}"
        if not self.bound.given:
            return f"{what}; repair or export the model again"
        if self.suspect:
            what += f"; the old batch is baked into {self.suspect}"
        return f"{what}; export the model with a dynamic batch axis, or at the shapes wanted"

    def _with_new_batch(self, node: Node, before: Type | None, target: Any) -> Any:
        """The shape a Reshape asks for, led by the new batch where it spells out the old one and only the new one fits."""
        old, new = self.bound.batch_before, self.bound.batch
        if old is None or new is None or not isinstance(target, np.ndarray) or target.size == 0:
            return target
        if not isinstance(before, TensorType) or not before.is_static:
            return target
        dims, sizes = before.dims(), target.reshape(-1).tolist()
        if sizes[0] != old or dims[:1] != (new,) or -1 in sizes or 0 in sizes[len(dims) :]:
            return target
        rest = prod(size or dims[axis] for axis, size in enumerate(sizes[1:], 1))
        if sizes[0] * rest == before.numel or new * rest != before.numel:
            return target
        if not self.respelled:
            self.respelled = node_label(node.proto)
            self.notes.append(
                f"Reshapes spell out the batch of {old}, {self.respelled} first; they are taken with the new one of {new}"
            )
        return np.array([new, *sizes[1:]], target.dtype)

    def _note_old_batch(self, node: Node, before: Type | None, target: Any) -> None:
        """Remembers a Reshape that still asks for the batch the model was exported with and lets its -1 take in the new one."""
        old, new = self.bound.batch_before, self.bound.batch
        if target is None or isinstance(target, Partial) or target.size == 0:
            return
        sizes = target.reshape(-1)
        leads = isinstance(before, TensorType) and bool(before.shape) and before.dims()[0] == new
        if leads and sizes[0] == old and -1 in sizes:
            self.suspect = node_label(node.proto)
            self.notes.append(f"{self.suspect} keeps the batch of {old} it was exported with and folds the new one into its -1")

    # --- values ----------------------------------------------------------------------------------------------

    def _fold(self, index: int, node: Node, types: list[Type | None], values: list[Any], scope: Scope) -> None:
        """Adds the values of the results, where they are small and follow from the operands."""
        operator = node.proto.op_type
        from_type = operator in FROM_TYPE
        if not from_type and (not values or any(value is None and name for value, name in zip(values, node.inputs, strict=True))):
            return
        for name in node.outputs:
            kind = scope.types.get(name)
            if name and (not isinstance(kind, TensorType) or (kind.is_static and kind.numel > MAX_FOLDED_ELEMENTS)):
                return
        tensors = [kind if isinstance(kind, TensorType) else None for kind in types]
        call = Call(values, attribute_values(node.proto), self.opsets[""], tensors, len(node.outputs))
        partial = None
        if any(isinstance(value, Partial) for value in values):
            partial = fold_partial(operator, call)
            results = [partial.data] if partial is not None and partial.known.all() else None
        else:
            results = fold(operator, call)
            if results is None and operator == "Shape" and tensors[0] is not None:
                partial = partial_shape(tensors[0], call.attributes)
        if results is None:
            if partial is not None:
                scope.partials[node.outputs[0]] = partial
            return
        for name, value in zip(node.outputs, results, strict=False):
            if name:
                scope.graph.constants[name] = value
                kind = scope.types[name]
                if isinstance(kind, TensorType) and kind.shape != value.shape:
                    scope.types[name] = TensorType(kind.dtype, value.shape)
        scope.graph.folded.add(index)

    def check_trip_counts(self) -> None:
        """Every trip count that was given named a loop.

        Raises:
            UsageError: one did not.
        """
        for name in self.trip_count:
            if name not in self.loops:
                listed = ", ".join(shown(loop) for loop in sorted(self.loops)[:20]) or "none"
                raise UsageError(f"the model has no Loop or Scan {shown(name)}, only {listed}{did_you_mean(name, self.loops)}")


def _literal(attributes: dict[str, Any]) -> tuple[TensorType, Any]:
    """Type and value of a Constant that is written as numbers or text."""
    for name, dtype, element in (("value_int", np.int64, "int64"), ("value_float", np.float32, "fp32")):
        for key in (name, f"{name}s"):
            if key in attributes:
                value = np.array(attributes[key], dtype)
                return TensorType(element, value.shape), value if value.size <= MAX_FOLDED_ELEMENTS else None
    if "value_strings" in attributes:
        return TensorType("string", (len(attributes["value_strings"]),)), None
    if "value_string" in attributes:
        return TensorType("string", ()), None
    raise InvalidValueError("has no value")


def _merged(kind: Type | None, declared: Type | None) -> Type | None:
    """The inferred type, with what the file adds to it."""
    if kind is None or isinstance(kind, Container) or not isinstance(declared, TensorType) or declared.shape is None:
        return kind if kind is not None else declared
    if kind.shape is None:
        return TensorType(kind.dtype, declared.shape)
    if None not in kind.shape or len(kind.shape) != len(declared.shape):
        return kind
    return TensorType(kind.dtype, tuple(b if a is None else a for a, b in zip(kind.shape, declared.shape, strict=True)))


def _guess(types: Sequence[Type | None]) -> str:
    """The element type of a result of which nothing is known: that of the first operand."""
    first = next((kind for kind in types if isinstance(kind, TensorType)), None)
    return first.dtype if first is not None else "fp32"


def _reason(error: Exception) -> str:
    """The first line of a message, without the prefix that onnx puts before it."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for prefix in ("[ShapeInferenceError] ", "[TypeInferenceError] "):
        text = text.removeprefix(prefix)
    return printable(text[:200]).rstrip(". ")
