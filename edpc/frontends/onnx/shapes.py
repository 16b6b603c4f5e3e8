"""Types of every value of a model: one topological walk that infers each node's results and folds small tensors on the way.

Folding is what makes shapes known: a transformer computes them from `Shape`, `Gather` and `Concat`, and inference that does not
know the values stops there. Models repeat layers, so results are remembered by everything they depend on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from edpc.errors import ModelError
from edpc.frontends.onnx.functions import inlined
from edpc.frontends.onnx.names import node_label, shown, text
from edpc.frontends.onnx.overrides import bind, printable
from edpc.frontends.onnx.typed import TypedGraph, TypedModel
from edpc.frontends.onnx.typer import Typer


def infer(
    model: onnx.ModelProto,
    *,
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
    source: str = "the model",
) -> TypedModel:
    """The model with a type for every value and the values of small tensors.

    Where nothing is overridden, a fully static type in the file is taken as it is. Otherwise every type is inferred; types in the
    file then only fill what inference leaves unknown, and not even that once a fixed dimension has changed.

    Args:
        model: a model with or without weights; stays as it is.
        dims: size by name of free dimension.
        batch: leading dimension of the first input that has one and of every input whose leading dimension is the same.
        shapes: whole shape by name of input.
        trip_count: iterations by name of Loop or Scan node, where the model does not say.
        source: what messages call the model.

    Raises:
        ModelError: the model is invalid, or cannot take the shapes asked for.
        UsageError: an override names nothing in the model, or free dimensions remain.
    """
    source = printable(source)
    model = inlined(model, source)
    opsets = _opsets(model, source)
    given = {tensor.name for tensor in model.graph.initializer}
    given.update(sparse.values.name for sparse in model.graph.sparse_initializer)
    inputs = [value for value in model.graph.input if value.name not in given]
    others = [*model.graph.value_info, *model.graph.output] if dims else []
    bound = bind(inputs, others, dims=dims or {}, batch=batch, shapes=shapes or {}, where=source)
    typer = Typer(source, opsets, bound, dict(trip_count or {}))
    if not model.graph.node:
        raise ModelError(f"{source} has a graph without nodes: there is nothing to analyse; export the model again")
    if not model.graph.output:
        raise ModelError(f"{source} has a graph without outputs; declare them or export the model again")
    graph = typer.graph(model.graph, None, [bound.types[value.name] for value in inputs], source).close()
    typer.check_trip_counts()
    return TypedModel(
        graph,
        opsets,
        model.ir_version,
        text(model.producer_name),
        text(model.producer_version),
        {text(entry.key): text(entry.value) for entry in model.metadata_props},
        typer.notes + _unknown(graph),
    )


def _opsets(model: onnx.ModelProto, source: str) -> dict[str, int]:
    """Version by domain, each one that the installed onnx can read.

    Raises:
        ModelError: a version is no version, or newer than the installed onnx.
    """
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else text(entry.domain)
        opsets[domain] = max(entry.version, opsets.get(domain, entry.version))
    newest = onnx.defs.onnx_opset_version()
    # Files of IR version 1 and 2 know no opsets: theirs is the first.
    version = opsets.setdefault("", 1 if model.ir_version < 3 else newest)
    if version > newest:
        raise ModelError(
            f"{source} uses opset {version} and onnx {onnx.__version__} knows up to {newest}; "
            f"upgrade onnx, or export with opset {newest} or older"
        )
    if version < 1:
        raise ModelError(f"{source} uses opset {version}, which does not exist; export the model again")
    return opsets


def _unknown(graph: TypedGraph) -> list[str]:
    """One sentence on the values whose size stays unknown."""
    names = [
        name for name, kind in graph.types.items() if not kind.is_static and kind.dtype not in ("sequence", "optional", "map")
    ]
    if not names:
        return []
    first = next((node_label(node) for node in graph.nodes if names[0] in node.output), f"value {shown(names[0])}")
    return [f"{len(names)} of {len(graph.types)} tensors have a size that is not known before the run, the first is of {first}"]
