"""Groups of a graph that a runtime has optimised itself: what was lowered from one executed node is one kernel."""

from __future__ import annotations

from edpc.ir import Graph, Group, Operator
from edpc.target import kernel_class

# The format of a graph whose operators are those that a runtime executes.
FORMAT = "onnxruntime"
RULE = "runtime-node"
# The attribute in which operators keep the executed node that they were lowered from.
NODE = "runtime_node"
_BLOCKED = "com.microsoft.nchwc."
_SKIPPING = frozenset({"com.microsoft.SkipLayerNormalization", "com.microsoft.SkipSimplifiedLayerNormalization"})


def by_node(graph: Graph) -> tuple[Group, ...]:
    """One group per executed node, in order of execution; the class is that of its operator with most arithmetic."""
    members: dict[str, list[str]] = {}
    for name in graph.compute_order():
        members.setdefault(node_of(graph.op(name)) or name, []).append(name)
    groups = []
    for number, names in enumerate(members.values()):
        ops = [graph.op(name) for name in names]
        most = max(ops, key=lambda op: (op.work.flops, sum(op.work.writes)) if op.work is not None else (0, 0))
        groups.append(Group(f"g{number}", RULE, _class_of(most), tuple(names)))
    return tuple(groups)


def node_of(op: Operator) -> str:
    """The executed node that the operator was lowered from; empty for an operator of another graph."""
    return str(op.attribute(NODE, ""))


def _class_of(op: Operator) -> str:
    """Of the operator itself, but for kernels that only the runtime's graph tells apart.

    A convolution that it did not block is laid out as columns; a normalisation that adds a residual is another kernel.
    """
    source = op.location.source_type if op.location is not None else ""
    if op.kind == "conv" and not source.startswith(_BLOCKED):
        return "im2col_conv"
    return "skip_norm" if source in _SKIPPING else kernel_class(op.kind)
