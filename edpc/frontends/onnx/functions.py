"""Model-local functions written out where they are called, in names that say where they come from.

The node `norm` of a function called by the node `block1` becomes `block1/norm`, its values likewise. Attributes that refer to
the function's own take the caller's value, or the function's default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from edpc.errors import ModelError
from edpc.frontends.onnx.names import node_label, shown
from edpc.frontends.onnx.order import bodies
from edpc.frontends.onnx.wire import MAX_GRAPH_DEPTH

_MAX_NODES = 2_000_000

_Key = tuple[str, str, str]


def inlined(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The model without local functions: itself where it has none, else a copy with every call written out.

    Args:
        model: a model; stays as it is.
        where: what messages start with, the name of the file.

    Raises:
        ModelError: functions call each other in a circle, or written out they exceed two million nodes.
    """
    if not model.functions:
        return model
    functions = {(_domain(f.domain), f.name, f.overload): f for f in model.functions}
    sizes: dict[_Key, int] = {}
    for key in functions:
        _written_size(key, functions, sizes, [], where)
    if _size(model.graph.node, sizes) > _MAX_NODES:
        raise ModelError(f"{where} has more than {_MAX_NODES} nodes when its functions are written out; split the model")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.functions[:]
    _Inliner(functions, set(_value_names(model.graph))).graph(copy.graph)
    versions = {entry.domain for entry in copy.opset_import}
    for function in model.functions:
        for entry in function.opset_import:
            if entry.domain not in versions:
                versions.add(entry.domain)
                copy.opset_import.append(entry)
    return copy


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _key(node: onnx.NodeProto) -> _Key:
    return _domain(node.domain), node.op_type, node.overload


def _size(nodes: Iterable[onnx.NodeProto], sizes: dict[_Key, int], depth: int = 0) -> int:
    """Number of nodes once calls are written out, bodies included."""
    total = 0
    for node in nodes:
        total += sizes.get(_key(node), 1)
        if depth < MAX_GRAPH_DEPTH:
            total += sum(_size(body.node, sizes, depth + 1) for body in bodies(node))
    return total


def _calls(nodes: Iterable[onnx.NodeProto], functions: dict[_Key, onnx.FunctionProto], depth: int = 0) -> Iterator[_Key]:
    for node in nodes:
        if _key(node) in functions:
            yield _key(node)
        if depth < MAX_GRAPH_DEPTH:
            for body in bodies(node):
                yield from _calls(body.node, functions, depth + 1)


def _written_size(
    key: _Key, functions: dict[_Key, onnx.FunctionProto], sizes: dict[_Key, int], stack: list[_Key], where: str
) -> None:
    if key in sizes:
        return
    if key in stack or len(stack) > MAX_GRAPH_DEPTH:
        circle = " -> ".join(shown(k[1]) for k in [*stack[-3:], key])
        why = "call each other in a circle" if key in stack else f"nest more than {MAX_GRAPH_DEPTH} deep"
        raise ModelError(f"{where}: the local functions {circle} {why}; inline them before export")
    stack.append(key)
    for callee in _calls(functions[key].node, functions):
        _written_size(callee, functions, sizes, stack, where)
    stack.pop()
    sizes[key] = _size(functions[key].node, sizes)


def _value_names(graph: onnx.GraphProto, depth: int = 0) -> Iterator[str]:
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from node.output
        if depth < MAX_GRAPH_DEPTH:
            for body in bodies(node):
                yield from _value_names(body, depth + 1)


class _Inliner:
    def __init__(self, functions: dict[_Key, onnx.FunctionProto], taken: set[str]) -> None:
        self.functions = functions
        self.taken = taken

    def graph(self, graph: onnx.GraphProto) -> None:
        """Writes out the calls in a graph and its bodies."""
        nodes = [written for node in graph.node for written in self.node(node)]
        del graph.node[:]
        graph.node.extend(nodes)

    def node(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that stand for one node: itself, or the body of the function it calls."""
        function = self.functions.get(_key(node))
        if function is None:
            for body in bodies(node):
                self.graph(body)
            return [node]
        given = {attribute.name: attribute for attribute in function.attribute_proto}
        given.update({attribute.name: attribute for attribute in node.attribute})
        names = {"": ""}
        names.update(zip(function.input, [*node.input, *[""] * len(function.input)], strict=False))
        prefix = self.fresh(node.name or next((name for name in node.output if name), node.op_type))
        results = dict(zip(function.output, node.output, strict=False))
        passed_on = {name for name in function.output if name in names}
        names.update({name: result for name, result in results.items() if result and name not in passed_on})
        written = []
        for inner in function.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(inner)
            self.bind(copy, names, given, prefix)
            if not copy.metadata_props:
                copy.metadata_props.extend(node.metadata_props)
            written += self.node(copy)
        for name in sorted(passed_on):
            # A function may hand an input through as an output, which takes a node outside of it.
            if results.get(name):
                written.append(onnx.helper.make_node("Identity", [names[name]], [results[name]], name=f"{prefix}/{name}"))
        return written

    def fresh(self, stem: str) -> str:
        """A prefix no value or call has yet."""
        name, number = stem, 1
        while f"{name}/" in self.taken:
            number += 1
            name = f"{stem}#{number}"
        self.taken.add(f"{name}/")
        return name

    def bind(
        self, node: onnx.NodeProto, names: dict[str, str], given: dict[str, onnx.AttributeProto], prefix: str, depth: int = 0
    ) -> None:
        """Gives a copied node the caller's names and attributes; `names` grows by the values it produces."""
        for slots in (node.input, node.output):
            for slot, name in enumerate(slots):
                if name not in names:
                    names[name] = f"{prefix}/{name}"
                    while names[name] in self.taken:
                        names[name] += "'"
                    self.taken.add(names[name])
                slots[slot] = names[name]
        node.name = f"{prefix}/{node.name or node.op_type}"
        attributes = list(node.attribute)
        del node.attribute[:]
        for attribute in attributes:
            if attribute.ref_attr_name:
                value = given.get(attribute.ref_attr_name)
                if value is None:
                    continue
                copy = node.attribute.add()
                copy.CopyFrom(value)
                copy.name = attribute.name
                continue
            node.attribute.add().CopyFrom(attribute)
        if depth >= MAX_GRAPH_DEPTH:
            raise ModelError(f"{node_label(node)} nests graphs more than {MAX_GRAPH_DEPTH} deep; flatten it")
        for body in bodies(node):
            self.bind_body(body, dict(names), given, prefix, depth + 1)

    def bind_body(
        self, body: onnx.GraphProto, names: dict[str, str], given: dict[str, onnx.AttributeProto], prefix: str, depth: int
    ) -> None:
        """The same for a graph inside a node; its own values shadow those outside."""
        for value in [*body.input, *body.initializer]:
            names[value.name] = f"{prefix}/{value.name}"
            value.name = names[value.name]
        for sparse in body.sparse_initializer:
            names[sparse.values.name] = f"{prefix}/{sparse.values.name}"
            sparse.values.name = names[sparse.values.name]
        for node in body.node:
            for name in node.output:
                if name:
                    names[name] = f"{prefix}/{name}"
        for node in body.node:
            self.bind(node, names, given, prefix, depth)
        for value in [*body.value_info, *body.output]:
            if value.name in names:
                value.name = names[value.name]
