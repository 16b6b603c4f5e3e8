"""Which node of an ONNX model each operator came from, through calls of local functions and into bodies of control flow.

A node is known by its path in the file: the places to turn, from the model down. What a node holds (the function it calls, its
bodies) counts for the node too, so the nodes of the main graph sum to the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edpc.emit.annotated import Part, graph_of, parts
from edpc.frontends.onnx.functions import inlined
from edpc.frontends.onnx.locations import operator_type
from edpc.report import OperatorReport, Report

if TYPE_CHECKING:
    import onnx

# Steps of a path: the field (`graph`, `function`, `node`, `g`, `graphs`, `attribute`) and which of its entries.
Step = tuple[str, int]
Path = tuple[Step, ...]
_Key = tuple[str, str]


@dataclass(slots=True)
class Figures:
    """What a node and all it holds cost.

    Attributes:
        node: the node. operators: with the subgraph each stands in, and which part of the operator is the node's: one, or less
            where nodes in several graphs share a name, which then share their operators.
    """

    node: onnx.NodeProto
    operators: list[tuple[OperatorReport, Part, float]] = field(default_factory=list)


@dataclass(slots=True)
class Places:
    """The nodes of a model and what they cost.

    Attributes:
        nodes: by path, in the order of the file.
        rest: operators that no node of the model accounts for.
    """

    nodes: dict[Path, Figures]
    rest: list[OperatorReport]


def places(report: Report, model: onnx.ModelProto) -> Places:
    """The nodes of the model with the operators that were lowered from them.

    Args:
        report: with its graph, which was lowered from this model.
        model: its weights may be left out.

    Raises:
        UsageError: the report came from a file.
        ModelError: local functions call each other in a circle.
    """
    graph = graph_of(report)
    finder = _Finder(model)
    finder.graph(model.graph, inlined(model, graph.info.source).graph, (("graph", 0),), ())
    nodes = {path: Figures(node) for path, node in finder.nodes.items()}
    rest = []
    for part in parts(report):
        for name, operator in zip(part.names, part.operators, strict=True):
            location = graph.op(name).location
            chains = finder.chains.get((location.source_name, location.source_type), ()) if location else ()
            if not chains:
                rest.append(operator)
            # A node met in several calls of a function stands in several chains; the operators are shared out evenly.
            for path, count in Counter(path for chain in chains for path in set(chain)).items():
                nodes[path].operators.append((operator, part, count / len(chains)))
    return Places(nodes, rest)


class _Finder:
    """Walks the model as it is in the file beside the model with its functions written out."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.functions: Mapping[tuple[str, str, str], tuple[int, onnx.FunctionProto]] = {
            (_domain(f.domain), f.name, f.overload): (number, f) for number, f in enumerate(model.functions)
        }
        self.nodes: dict[Path, onnx.NodeProto] = {}
        self.chains: dict[_Key, list[tuple[Path, ...]]] = {}

    def graph(self, graph: onnx.GraphProto, written: onnx.GraphProto, path: Path, holders: tuple[Path, ...]) -> None:
        """Enters the nodes of a graph; `written` is the graph with calls written out, `holders` the nodes around it."""
        names = Counter(node.name for node in written.node)
        self.sequence(graph.node, iter(written.node), path, holders, {name for name, count in names.items() if count > 1})

    def sequence(
        self,
        nodes: Iterable[onnx.NodeProto],
        written: Iterator[onnx.NodeProto],
        path: Path,
        holders: tuple[Path, ...],
        shared: set[str],
    ) -> None:
        """Enters nodes that were written out one after the other."""
        for number, node in enumerate(nodes):
            place = (*path, ("node", number))
            chain = (*holders, place)
            self.nodes.setdefault(place, node)
            called = self.functions.get((_domain(node.domain), node.op_type, node.overload))
            if called is None:
                self.single(node, next(written), place, chain, shared)
                continue
            index, function = called
            self.sequence(function.node, written, (("function", index),), chain, shared)
            for _ in range(_passed_on(function, node)):
                self.key(next(written), chain, shared)

    def single(
        self, node: onnx.NodeProto, written: onnx.NodeProto, place: Path, chain: tuple[Path, ...], shared: set[str]
    ) -> None:
        """Enters a node that calls no function, and its bodies."""
        self.key(written, chain, shared)
        bodies = {attribute.name: attribute for attribute in written.attribute}
        for number, attribute in enumerate(node.attribute):
            copy = bodies.get(attribute.name)
            if copy is None:
                continue
            at = (*place, ("attribute", number))
            if attribute.HasField("g"):
                self.graph(attribute.g, copy.g, (*at, ("g", 0)), chain)
            for which, (body, other) in enumerate(zip(attribute.graphs, copy.graphs, strict=False)):
                self.graph(body, other, (*at, ("graphs", which)), chain)

    def key(self, written: onnx.NodeProto, chain: tuple[Path, ...], shared: set[str]) -> None:
        """Enters the chain under what operators of this node say they come from."""
        name = written.name
        if not name or name in shared:
            name = next((output for output in written.output if output), written.op_type)
        self.chains.setdefault((name, operator_type(written)), []).append(chain)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _passed_on(function: onnx.FunctionProto, call: onnx.NodeProto) -> int:
    """How many inputs the function hands through as outputs that the call wants: each is a node when written out."""
    results: Mapping[str, str] = dict(zip(function.output, call.output, strict=False))
    inputs: Sequence[str] = ["", *function.input]
    return sum(bool(results.get(name)) for name in set(function.output) if name in inputs)
