"""Which nodes of the model a node of the runtime's graph stands for, found by the tensors that both graphs name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from edpc.frontends.onnx.locations import locate
from edpc.fusion.executed import NODE
from edpc.ir import Graph, Location, attributes

if TYPE_CHECKING:
    import onnx

# The runtime names a node of the blocked layout after the result that it replaces.
_BLOCKED = "_nchwc"
_NUMBER = "_token_"
# Kinds of the vocabulary by operators of a model that are called otherwise.
_CALLED = {
    "matmul": {"gemm", "matmul"},
    "add": {"add", "sum"},
    "layer_norm": {"layernormalization"},
    "rms_norm": {"rmsnormalization", "simplifiedlayernormalization"},
    "batch_norm": {"batchnormalization"},
    "gelu": {"gelu", "erf"},
    "quantize": {"quantizelinear"},
    "dequantize": {"dequantizelinear"},
}


def origins(model: onnx.ModelProto, optimised: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Nodes of the model by first result of the executed node that stands for them, in the model's order.

    From an executed node's results, everything upstream belongs to it until a result of another executed node is met. A node
    that the runtime inserted stands for none.
    """
    makers = {output: node for node in model.graph.node for output in node.output if output}
    named = {node.name: node for node in model.graph.node if node.name}
    order = {id(node): number for number, node in enumerate(model.graph.node)}
    replaced = {node.output[0]: _replaced(node, makers, named) for node in optimised.graph.node}
    borders = {name for names in replaced.values() for name in names}
    taken: set[int] = set()
    found = {}
    for output, names in replaced.items():
        mine = []
        pending = list(names)
        while pending:
            node = makers.get(pending.pop())
            if node is None or id(node) in taken:
                continue
            taken.add(id(node))
            mine.append(node)
            pending += [name for name in node.input if name not in borders]
        found[output] = sorted(mine, key=lambda node: order[id(node)])
    return found


def relocate(graph: Graph, nodes: Mapping[str, onnx.NodeProto], known: Mapping[str, Iterable[onnx.NodeProto]]) -> None:
    """Operators remember the executed node they run in, and are located at the node of the model that they come from.

    An operator takes the node of its own kind among those that its executed node stands for, else the first of them; where there
    is none, it stays located at the executed node. The operator type stays that of the executed node.
    """
    for name in graph.compute_order():
        op = graph.op(name)
        if op.location is None:
            continue
        stem, kind = op.location.source_name, op.location.source_type
        candidates = list(known.get(nodes[stem].output[0], ())) if stem in nodes else []
        called = _CALLED.get(op.kind, {op.kind.replace("_", "")})
        source = next((node for node in candidates if node.op_type.lower() in called), candidates[0] if candidates else None)
        here = op.location
        if source is not None:
            there = locate(source, source.name or source.output[0])
            here = Location(there.source_name, kind, there.module_path)
        graph.annotate(name, location=here, attributes=attributes(**{**dict(op.attributes), NODE: stem}))


def _replaced(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], named: Mapping[str, onnx.NodeProto]) -> list[str]:
    """Results of the model that the executed node's results are, in whatever layout."""
    same = [name for name in node.output if name in makers]
    if same and not node.op_type.startswith("Reorder"):
        return same
    stem = node.name.partition(_NUMBER)[0]
    if stem.endswith(_BLOCKED) and stem.removesuffix(_BLOCKED) in makers:
        return [stem.removesuffix(_BLOCKED)]
    while stem and stem not in named:  # fusions append their own name to that of the node they begin with
        stem = stem.rpartition("/")[0]
    return list(named[stem].output) if stem else []
