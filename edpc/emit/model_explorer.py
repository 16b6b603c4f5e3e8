"""An overlay for Model Explorer ("custom node data"): each node's EDP as value and colour, by the names of its output tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec

from edpc.emit import EmitOptions
from edpc.emit.annotated import graph_of, parts
from edpc.emit.heat import heat, stops
from edpc.errors import UsageError
from edpc.report import Report


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """The EDP in J*s by output tensor; a node of several outputs stands under each of them.

    Raises:
        UsageError: not exactly one report, or it came from a file and has no graph.
    """
    if len(reports) != 1:
        raise UsageError("an overlay for Model Explorer holds the figures of one target; write one file for each with -o")
    report = reports[0]
    values: dict[str, float] = {}
    for name, edp in _by_tensor(report):
        values[name] = values.get(name, 0.0) + edp
    largest = max(values.values(), default=0.0)
    results = {}
    for name, edp in values.items():
        colour = heat(edp / largest if largest else 0.0)
        results[name] = {"value": edp, "bgColor": colour.background, "textColor": colour.text}
    overlay = {graph_of(report).name: {"results": results, "gradient": stops()}}
    return msgspec.json.format(msgspec.json.encode(overlay), indent=1) + b"\n"


def _by_tensor(report: Report) -> Iterator[tuple[str, float]]:
    """Output tensors with the EDP of what produces them."""
    graph = graph_of(report)
    if graph.info.format != "onnx" or not os.path.isfile(graph.info.source):
        # In an FX graph a node and its result have one name; without the file, so has an operator.
        for part in parts(report):
            for name, operator in zip(part.names, part.operators, strict=True):
                location = graph.op(name).location
                yield (location.source_name if location else name), operator.edp_js
        return
    from edpc.emit.onnx_nodes import places
    from edpc.frontends.onnx.reader import read_model

    for figures in places(report, read_model(graph.info.source)).nodes.values():
        edp = sum(fraction * operator.edp_js for operator, _, fraction in figures.operators)
        yield from ((output, edp) for output in figures.node.output if output and figures.operators)
