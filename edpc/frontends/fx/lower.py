"""From an ATen program to the graph of the compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from edpc.errors import ModelError
from edpc.frontends.fx.dimensions import bind
from edpc.frontends.fx.program import Program, Ref, Source
from edpc.frontends.fx.site import Scope
from edpc.frontends.fx.table import TABLE
from edpc.frontends.fx.walk import walk
from edpc.frontends.onnx.builder import Builder
from edpc.ir import FLOAT_DTYPES, RETURN_KIND, Graph, Location, ModelInfo, Operator, TensorType, Value

# Element types that weights are stored in; other tensors are indices, masks and tables.
_WEIGHT_DTYPES = FLOAT_DTYPES | {"int8", "uint8", "int4", "uint4", "int2", "uint2", "int16", "uint16"}


def lower(
    program: Program,
    source_name: str,
    *,
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
) -> Graph:
    """The program's graph in the operator vocabulary.

    Args:
        program: the program.
        source_name: the model as the user gave it.
        dims: size by name of a free dimension.
        batch: leading dimension of the first input.
        shapes: whole shape by name of input.
        trip_count: iterations by name of a `while_loop`.

    Raises:
        UsageError: an override does not fit the program, or free dimensions remain.
        ModelError: the program is damaged, or computes nothing.
    """
    sizes = bind(program, dims, batch, shapes, source_name)
    builder = Builder(PurePath(source_name).stem.strip("<>") or "model")
    scope = Scope(program.body, builder, sizes, trip_count or {}, TABLE)
    stored: dict[str, Value] = {}
    for source in program.sources:
        _enter(scope, source, stored)
    walk(scope)
    builder.kept += [scope.value(each.name) for each in program.state if isinstance(each, Ref) and scope.is_tensor(each.name)]
    results = [scope.value(each.name) for each in program.body.outputs if isinstance(each, Ref)]
    if not results:
        raise ModelError(f"{source_name} returns no tensor: there is nothing to analyse")
    graph = builder.graph
    graph.add(builder.fresh("return"), Operator(RETURN_KIND, tuple(graph.type_of(value) for value in results)), results)
    builder.sweep()
    parameters = [op for _, op in graph.items() if op.kind == "parameter"]
    graph.info = ModelInfo(
        format="fx",
        source=source_name,
        batch=_batch(program, scope),
        parameters=sum(op.outputs[0].numel for op in parameters),
        notes=tuple(builder.notes),
    )
    return graph


def _enter(scope: Scope, source: Source, stored: dict[str, Value]) -> None:
    """Adds what the program is given; tensors that share their memory are one parameter."""
    if source.kind == "number":
        if source.number is not None:
            scope.numbers[source.name] = source.number
        return
    if source.storage and source.storage in stored:
        scope.entries[source.name] = stored[source.storage]
        return
    found = scope.type(source.name)
    # A buffer that the network writes is state: it comes from memory as an input does and is no weight.
    changes = source.kind == "input" or source.name in scope.written
    kind = "input" if changes else "parameter" if _is_weight(found) else "constant"
    value = scope.builder.source(source.name, kind, found, Location(source.target or source.name))
    scope.entries[source.name] = value
    if source.storage:
        stored[source.storage] = value


def _is_weight(found: TensorType) -> bool:
    """Whether it is weight data rather than a scalar, an index or a mask: as the ONNX frontend decides."""
    return found.numel > 1 and found.dtype in _WEIGHT_DTYPES


def _batch(program: Program, scope: Scope) -> int:
    """The leading dimension of the first input that has one; 1 where none is known."""
    for source in program.sources:
        shape = scope.type(source.name).shape if source.kind == "input" else None
        if shape and shape[0] is not None:
            return shape[0]
    return 1
