"""The graph that ONNX Runtime executes: its fusions, its blocked layout and its reorders, read back into the IR."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edpc import frontends
from edpc.fusion.executed import FORMAT
from edpc.ir import Graph
from edpc.runtime.denormals import masked_softmaxes
from edpc.runtime.model import Prepared, prepare
from edpc.runtime.origins import origins, relocate
from edpc.runtime.session import onnxruntime, open_session

if TYPE_CHECKING:
    import onnx

_KEEP_BYTES = "1024"  # the reader's own limit for values that it keeps


@dataclass(frozen=True)
class Executed:
    """What the runtime makes of a model.

    Attributes:
        graph: before any pass; operators know their executed node (`node_of`) and are located at the model's own.
        nodes: the executed nodes by what operators know: their name, or their first result's.
    """

    graph: Graph
    nodes: Mapping[str, onnx.NodeProto]


def executed_graph(
    source: Any,
    *,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """The graph that ONNX Runtime executes for a model on this machine's CPU; nothing is run.

    Args:
        source: path, bytes or `onnx.ModelProto`.
        batch: leading dimension of the inputs.
        dims: sizes of free dimensions by name.
        shapes: whole shapes by name of input.

    Raises:
        ModelError: the model cannot be read, or the runtime refuses it.
        UsageError: an override does not fit, or onnxruntime is not installed.
    """
    return executed(prepare(source, batch=batch, dims=dims, shapes=shapes)).graph


def executed(prepared: Prepared, values: Mapping[str, Any] | None = None) -> Executed:
    """What the runtime makes of a prepared model; arguments and errors as of `open_session`."""
    optimised = optimise(prepared, values)
    graph = frontends.load(optimised)
    version = onnxruntime().__version__
    given, left = len(prepared.proto.graph.node), len(optimised.graph.node)
    notes = [f"follows ONNX Runtime {version} on this machine: {given} nodes of the model run as {left}"]
    notes += [
        f"softmax {name} reads a mask below -87: its exponentials are denormal numbers, which run 4 to 60 times slower"
        for name in masked_softmaxes(prepared.proto)
    ]
    graph.info = replace(graph.info, format=FORMAT, source=prepared.name, notes=(*graph.info.notes, *notes))
    named = Counter(node.name for node in optimised.graph.node)
    nodes = {node.name if node.name and named[node.name] == 1 else node.output[0]: node for node in optimised.graph.node}
    relocate(graph, nodes, origins(prepared.proto, optimised))
    return Executed(graph, nodes)


def optimise(prepared: Prepared, values: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """The model as the runtime rewrites it for this CPU, without its weights."""
    from edpc.frontends.onnx.reader import read_model

    with tempfile.TemporaryDirectory(prefix="edpc-") as folder:
        path = Path(folder) / "optimised.onnx"

        def configure(options: Any) -> None:
            options.optimized_model_filepath = str(path)
            options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights")
            options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", _KEEP_BYTES)

        open_session(prepared, values=values, configure=configure)
        model = read_model(path)
    read = {name for node in model.graph.node for name in node.input}
    inputs = [value for value in model.graph.input if value.name in read]
    if len(inputs) < len(model.graph.input):  # old files list initializers as inputs, and the runtime folds many away
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    return model
