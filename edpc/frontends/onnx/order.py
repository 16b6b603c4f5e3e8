"""The nodes of a graph in an order in which every value is there before it is read, or the reason why there is none."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import onnx

from edpc.errors import ModelError
from edpc.frontends.onnx.names import did_you_mean, node_label, shown
from edpc.frontends.onnx.wire import MAX_GRAPH_DEPTH


class Node(NamedTuple):
    """A node with its operand and result names ('' where absent), read from the file once."""

    proto: onnx.NodeProto
    inputs: list[str]
    outputs: list[str]


def ordered(graph: onnx.GraphProto, sources: Iterable[str], is_outer: Callable[[str], bool], where: str) -> list[Node]:
    """The nodes in topological order; that of the file where it is one.

    Args:
        graph: the graph.
        sources: names of its inputs and initializers.
        is_outer: whether a name is a value of an enclosing graph.
        where: what messages start with, the name of the file.

    Raises:
        ModelError: a value has two producers or none, a name is no text, or the graph has a cycle.
    """
    nodes = [Node(node, list(node.input), list(node.output)) for node in graph.node]
    known = set(sources)
    producer: dict[str, int] = {}
    in_order = True
    for index, node in enumerate(nodes):
        if in_order:
            in_order = all(name in known or is_outer(name) for name in _reads(node) if name)
        for name in node.outputs:
            if not name:
                continue
            if type(name) is not str:
                raise ModelError(
                    f"{where}: {node_label(node.proto, index)} produces {shown(name)}, a name that is not UTF-8; rename it"
                )
            if name in known:
                other = node_label(nodes[producer[name]].proto) if name in producer else "an input or initializer of the graph"
                label = node_label(node.proto, index)
                raise ModelError(f"{where}: value {shown(name)} is produced by {label} and by {other}; give each its own name")
            known.add(name)
            producer[name] = index
        if not node.proto.op_type or not all(
            type(text) is str for text in (node.proto.op_type, node.proto.name, node.proto.domain)
        ):
            raise ModelError(f"{where}: {node_label(node.proto, index)} has no operator or a name that is not UTF-8; name it")
    return nodes if in_order else _sorted(nodes, producer, known, is_outer, where)


def captured(graph: onnx.GraphProto, depth: int = 0) -> Iterator[str]:
    """The names a body reads and does not define itself."""
    if depth > MAX_GRAPH_DEPTH:
        return
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own.update(name for node in graph.node for name in node.output)
    own.update(sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        yield from (name for name in node.input if name and name not in own)
        for body in bodies(node):
            yield from (name for name in captured(body, depth + 1) if name not in own)
    yield from (value.name for value in graph.output if value.name not in own)


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs a node holds as attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _reads(node: Node) -> list[str]:
    """Operands and captured names; bodies are looked into only where the operator is one that has any."""
    if not any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.proto.attribute):
        return node.inputs
    return node.inputs + [name for body in bodies(node.proto) for name in captured(body)]


def _sorted(
    nodes: list[Node], producer: dict[str, int], known: set[str], is_outer: Callable[[str], bool], where: str
) -> list[Node]:
    """Kahn's algorithm; among ready nodes the first of the file comes first."""
    waits: list[set[int]] = []
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        needs = set()
        for name in _reads(node):
            if name in producer:
                needs.add(producer[name])
            elif name and name not in known and not is_outer(name):
                hint = did_you_mean(name, known) if len(known) < 10_000 else ""
                raise ModelError(
                    f"{where}: {node_label(node.proto, index)} reads {shown(name)}, which nothing in the model produces; "
                    f"repair or export the model again{hint}"
                )
        waits.append(needs)
        for need in needs:
            readers.setdefault(need, []).append(index)
    ready = [index for index, needs in enumerate(waits) if not needs]
    heapq.heapify(ready)
    result = []
    while ready:
        index = heapq.heappop(ready)
        result.append(nodes[index])
        for reader in readers.get(index, ()):
            waits[reader].discard(index)
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(result) < len(nodes):
        raise ModelError(f"{where}: {_cycle(nodes, waits)}; a graph must have no cycle, export the model again")
    return result


def _cycle(nodes: list[Node], waits: list[set[int]]) -> str:
    """Names the nodes of one cycle among those that still wait."""
    index = next(i for i, needs in enumerate(waits) if needs)
    path: list[int] = []
    seen: dict[int, int] = {}
    while index not in seen:
        seen[index] = len(path)
        path.append(index)
        index = min(waits[index])
    loop = [node_label(nodes[i].proto, i) for i in reversed(path[seen[index] :])]
    if len(loop) == 1:
        return f"{loop[0]} reads its own result"
    names = " -> ".join(loop[:4])
    return f"{names}{' -> ...' if len(loop) > 4 else ''} -> {loop[0]} form a cycle"
