"""From a typed ONNX model to the graph of the compiler."""

from __future__ import annotations

from pathlib import PurePath

from edpc.frontends.onnx.builder import Builder
from edpc.frontends.onnx.order import bodies, captured
from edpc.frontends.onnx.rewrites import exporter_notes
from edpc.frontends.onnx.site import Scope
from edpc.frontends.onnx.table import TABLE
from edpc.frontends.onnx.typed import TypedGraph, TypedModel
from edpc.frontends.onnx.walk import walk
from edpc.ir import RETURN_KIND, Graph, Location, ModelInfo, Operator


def lower(typed: TypedModel, source_name: str) -> Graph:
    """The model's graph in the operator vocabulary, its weights classed, its shape arithmetic folded, its dead nodes dropped.

    Args:
        typed: the model with a type for every value.
        source_name: the model as the user gave it.

    Raises:
        ModelError: a node reads a value that nothing produces.
    """
    builder = Builder(typed.graph.name or PurePath(source_name).stem or "model")
    scope = Scope(typed.graph, builder, typed.opsets, TABLE)
    graph = builder.graph
    for name in typed.graph.inputs:
        scope.entries[name] = builder.source(name, "input", typed.graph.types[name], Location(name))
    walk(scope)
    results = [scope.value(scope.find(name)) for name in typed.graph.outputs]
    graph.add(builder.fresh("return"), Operator(RETURN_KIND, tuple(graph.type_of(value) for value in results)), results)
    left_out = builder.sweep()
    graph.info = ModelInfo(
        format="onnx",
        source=source_name,
        batch=_batch(typed.graph),
        parameters=_parameters(builder),
        notes=(*typed.notes, *builder.notes, *_import_notes(scope, left_out)),
    )
    return graph


def _parameters(builder: Builder) -> int:
    """Elements of the weights that results depend on, each once however often it is used or rearranged."""
    weights = {root for name, roots in builder.weights.items() if name in builder.graph for root in roots}
    return sum(weight.type.numel for weight in weights)


def _batch(typed: TypedGraph) -> int:
    """The leading dimension of the first input that has one; 1 where none is known."""
    for name in typed.inputs:
        shape = typed.types[name].shape
        if shape and shape[0] is not None:
            return shape[0]
    return 1


def _import_notes(scope: Scope, left_out: list[str]) -> list[str]:
    """What became of nodes that are not in the graph, folded or read by nobody, and what the exporter made of others."""
    typed = scope.typed
    dead = _dead(typed)
    names = {scope.stem(typed.nodes[index]) for index in dead}
    folded = sum(1 for index in typed.folded - dead if typed.nodes[index].op_type != "Constant")
    folded += len(set(left_out) - names)
    notes = []
    if folded:
        notes.append(f"shape-computing operators that were folded: {folded}")
    if dead:
        notes.append(f"operators left out because nobody reads their results: {len(dead)}")
    gone = dead | typed.folded
    return notes + exporter_notes(node for index, node in enumerate(typed.nodes) if index not in gone)


def _dead(typed: TypedGraph) -> set[int]:
    """Indices of nodes that no output depends on."""
    needed = set(typed.outputs)
    dead = set()
    for index in range(len(typed.nodes) - 1, -1, -1):
        node = typed.nodes[index]
        if needed.isdisjoint(node.output):
            dead.add(index)
            continue
        needed.update(node.input)
        for body in bodies(node):
            needed.update(captured(body))
    return dead
