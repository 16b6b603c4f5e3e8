"""The fused graph in the DOT language: operators as boxes, subgraphs as clusters, tensors as edges, EDP as heat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edpc.emit import EmitOptions
from edpc.emit.annotated import graph_of, parts
from edpc.emit.document import printable, shorten
from edpc.emit.heat import heat
from edpc.ir import Graph
from edpc.report import Report
from edpc.units import format_quantity

_LINE = 80  # characters of a name; Graphviz refuses labels above 16,384


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """One digraph for each report, with every operator and every tensor between operators.

    Raises:
        UsageError: a report came from a file and has no graph.
    """
    return "\n".join(line for report in reports for line in _digraph(report)).encode() + b"\n"


def _digraph(report: Report) -> Iterator[str]:
    target, totals = report.target, report.totals
    figures = ", ".join(
        format_quantity(value, unit) for value, unit in ((totals.energy_j, "J"), (totals.latency_s, "s"), (totals.edp_js, "J*s"))
    )
    yield f"digraph {_quoted(report.model.name)} {{"
    yield f"  label={_label(f'{report.model.name} on {target.name}, {target.precision}, batch {target.batch}', figures)};"
    yield '  labelloc=t; rankdir=TB; fontname="sans-serif";'
    yield '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11, color="#6b7280"];'
    yield '  edge [color="#6b7280", fontname="sans-serif", fontsize=9];'
    graph = graph_of(report)
    number = {name: f"n{i}" for i, name in enumerate(graph.dag)}
    largest = max((operator.edp_fraction_of_model for operator in report.operators), default=0.0)
    for part in parts(report):
        subgraph = part.subgraph
        yield f"  subgraph {_quoted(f'cluster_{subgraph.id}')} {{"
        about = f"{_percent(subgraph.edp_fraction)} of the EDP, {subgraph.bottleneck}"
        text = _label(f"{subgraph.id} {subgraph.fusion_pattern}", about)
        yield f'    style="rounded"; color="#9ca3af"; label={text};'
        for name, operator in zip(part.names, part.operators, strict=True):
            colour = heat(operator.edp_fraction_of_model / largest if largest else 0.0)
            share = f"{format_quantity(operator.edp_js, 'J*s')} ({_percent(operator.edp_fraction_of_model)})"
            text = _label(operator.source_name, operator.operator_type, share)
            yield f'    {number[name]} [label={text}, fillcolor="{colour.background}", fontcolor="{colour.text}"];'
        yield "  }"
    yield from _ends(graph, number)
    yield from _edges(graph, number)
    yield "}"


def _ends(graph: Graph, number: dict[str, str]) -> Iterator[str]:
    """The network's inputs and its return; weights and constants are left out."""
    for name, op in graph.items():
        if op.kind in ("input", "return"):
            types = op.outputs if op.kind == "input" else op.inputs
            text = _label(op.location.source_name if op.location else name, *(str(kind) for kind in types[:4]))
            yield f'  {number[name]} [label={text}, shape=oval, fillcolor="#ffffff"];'


def _edges(graph: Graph, number: dict[str, str]) -> Iterator[str]:
    for producer, consumer, flow in graph.flows():
        op = graph.op(producer)
        if op.kind in ("parameter", "constant"):
            continue
        shown = ", ".join(str(op.outputs[result]) for result in dict.fromkeys(result for result, _ in flow.links))
        yield f"  {number[producer]} -> {number[consumer]} [label={_label(shown)}];"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _label(*lines: str) -> str:
    return _quoted("\n".join(shorten(printable(line), _LINE) for line in lines))


def _quoted(text: str) -> str:
    """A quoted identifier; a backslash begins an escape there, and an ampersand a character of HTML."""
    shown = "\n".join(printable(line) for line in text.split("\n"))
    return '"' + shown.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
