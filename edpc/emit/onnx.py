"""The input model with its figures on every node, in `metadata_props`, as Netron shows them.

Only nodes grow: the file is walked as it lies on disk, and whatever is not a node goes through byte by byte. No weight is parsed
and none is in memory for longer than it takes to copy it; the location of external data is kept and never looked at.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from edpc.emit import EmitOptions
from edpc.emit.annotated import graph_of
from edpc.emit.document import printable
from edpc.emit.onnx_nodes import Figures, Path, places
from edpc.errors import ModelError, UsageError
from edpc.frontends.onnx.reader import read_model
from edpc.frontends.onnx.wire import BYTES, MAX_GRAPH_DEPTH, Walk, WireError, as_varint
from edpc.report import Report
from edpc.units import format_quantity

_PREFIX = "edpc"
_CHUNK = 1 << 20
_SUBGRAPHS_NAMED = 4

# Field numbers of `onnx.proto`: what a message holds that nodes are in, and where its properties are.
_INSIDE: Mapping[str, Mapping[int, tuple[str, str]]] = {
    "model": {7: ("graph", "graph"), 25: ("function", "function")},
    "graph": {1: ("node", "node")},
    "function": {7: ("node", "node")},
    "node": {5: ("attribute", "attribute")},
    "attribute": {6: ("g", "graph"), 11: ("graphs", "graph")},
}
_SINGULAR = frozenset({"graph", "g"})  # a field that stands more than once in the file is one message all the same
_PROPERTIES = {"model": 14, "node": 9}

Properties = Mapping[str, str]
Piece = bytes | tuple[int, int]  # new bytes, or a stretch of the file


def emit(reports: Sequence[Report], options: EmitOptions) -> Iterator[bytes]:
    """The model of the report with its figures, piece by piece.

    Raises:
        UsageError: not exactly one report, or its model was not read from an ONNX file that is still there.
    """
    if len(reports) != 1:
        raise UsageError("an annotated ONNX model holds the figures of one target; write one file for each with -o")
    return _annotated(reports[0], source_of(reports[0]))


def source_of(report: Report) -> str:
    """The ONNX file that the report's model was read from.

    Raises:
        UsageError: it was not read from one.
    """
    info = graph_of(report).info
    if info.format != "onnx" or info.source.startswith("<"):
        what = f"a model read as {info.format}" if info.format != "onnx" else f"a model from {info.source.strip('<>')}"
        raise UsageError(f"only a model that was read from an ONNX file can be written as ONNX, not {what}; give the .onnx file")
    return info.source


def with_properties(data: bytes | mmap.mmap, properties: Mapping[Path, Properties]) -> Iterator[bytes]:
    """The serialised model with these properties on its nodes, and on itself under the empty path.

    Properties of an earlier run, whose names begin with `edpc`, are taken out. All else keeps its bytes and its order.

    Raises:
        WireError: the bytes are no `ModelProto`.
    """
    pieces = _Writer(data, properties).message(0, len(data), "model", (), 0)
    return _stream(data, pieces)


def _annotated(report: Report, source: str) -> Iterator[bytes]:
    found = places(report, read_model(source))
    properties = {path: dict(_node(report, figures)) for path, figures in found.nodes.items() if figures.operators}
    properties[()] = dict(_model(report, sum(operator.edp_js for operator in found.rest)))
    try:
        with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from with_properties(data, properties)
    except (OSError, ValueError) as error:
        raise ModelError(f"{source} cannot be read again: {getattr(error, 'strerror', None) or error}") from None


def _model(report: Report, rest: float) -> Iterator[tuple[str, str]]:
    target = report.target
    yield _PREFIX, f"{format_quantity(report.edp_js, 'J*s')} on {target.name}, {target.precision}, batch {target.batch}"
    yield "edpc.version", report.edpc_version
    yield "edpc.target", target.name
    yield "edpc.precision", target.precision
    yield "edpc.batch", str(target.batch)
    yield "edpc.attribution", report.attribution
    yield "edpc.energy_j", repr(report.energy_j)
    yield "edpc.latency_s", repr(report.latency_s)
    yield "edpc.edp_js", repr(report.edp_js)
    if rest:
        yield "edpc.edp_js_of_no_node", repr(rest)


def _node(report: Report, figures: Figures) -> Iterator[tuple[str, str]]:
    """The properties of a node: one line for people, then plain SI numbers under the names of the JSON."""
    subgraphs = {part.subgraph.id: part.subgraph for _, part, _ in figures.operators}
    bounds: dict[str, float] = {}
    for operator, part, fraction in figures.operators:
        name = part.subgraph.bottleneck
        bounds[name] = bounds.get(name, 0.0) + fraction * operator.latency_s
    sums = {
        name: sum(fraction * getattr(operator, name) for operator, _, fraction in figures.operators)
        for name in ("edp_js", "edp_fraction_of_model", "energy_j", "latency_s")
    }
    flops = sum(fraction * operator.flops for operator, _, fraction in figures.operators)
    bound = max(bounds, key=lambda name: bounds[name])
    yield (
        _PREFIX,
        (
            f"{100 * sums['edp_fraction_of_model']:.2f} % of the EDP: {format_quantity(sums['edp_js'], 'J*s')}, "
            f"{format_quantity(sums['energy_j'], 'J')}, {format_quantity(sums['latency_s'], 's')}, bound by {bound}"
        ),
    )
    yield from ((f"edpc.{name}", repr(value)) for name, value in sums.items())
    yield "edpc.flops", str(round(flops))
    named = list(subgraphs.values())[:_SUBGRAPHS_NAMED]
    more = [f"{len(subgraphs) - len(named)} more"] if len(subgraphs) > len(named) else []
    yield "edpc.subgraph", printable("; ".join([*(f"{s.id} {s.name}" for s in named), *more]))
    yield "edpc.fusion_pattern", "; ".join(dict.fromkeys(s.fusion_pattern for s in subgraphs.values()))
    yield "edpc.bound_by", bound
    yield "edpc.is_fused", str(any(operator.is_fused for operator, _, _ in figures.operators)).lower()
    if any(fraction < 1 for _, _, fraction in figures.operators):
        yield "edpc.note", "nodes of this name stand in several graphs; they share the figures of their operators evenly"


class _Writer:
    """A walk that puts properties where their nodes end; a repeated field may stand anywhere in a message."""

    def __init__(self, data: bytes | mmap.mmap, properties: Mapping[Path, Properties]) -> None:
        self.walk = Walk(data)
        self.properties = properties
        self.met = Counter[Path]()

    def message(self, start: int, end: int, kind: str, path: Path, depth: int) -> list[Piece]:
        """The message in [start, end) in pieces."""
        if depth > 3 * MAX_GRAPH_DEPTH:
            raise WireError(f"graphs nest more than {MAX_GRAPH_DEPTH} deep at byte {start}")
        inside, own = _INSIDE[kind], _PROPERTIES.get(kind)
        pieces: list[Piece] = []
        kept = at = start
        while at < end:
            field = at
            number, wire, at, stop = self.walk.field(at, end)
            if wire == BYTES and number in inside:
                step, child = inside[number]
                place = (*path, (step, 0 if step in _SINGULAR else self.met[(*path, (step, -1))]))
                self.met[(*path, (step, -1))] += 1
                body = self.message(at, stop, child, place, depth + 1)
                if body != [(at, stop)]:
                    pieces += [(kept, field), as_varint(number << 3 | BYTES) + as_varint(_size(body)), *body]
                    kept = stop
            elif wire == BYTES and number == own and self._is_ours(at, stop):
                pieces.append((kept, field))
                kept = stop
            at = stop
        pieces.append((kept, end))
        if own is not None and path in self.properties:
            pieces.append(b"".join(_property(own, *pair) for pair in self.properties[path].items()))
        return pieces

    def _is_ours(self, start: int, end: int) -> bool:
        """Whether the entry in [start, end) of a map of strings has a key of edpc's."""
        at = start
        while at < end:
            number, _, at, stop = self.walk.field(at, end)
            if number == 1:
                key = bytes(self.walk.data[at:stop])
                return key == _PREFIX.encode() or key.startswith(f"{_PREFIX}.".encode())
            at = stop
        return False


def _property(number: int, key: str, value: str) -> bytes:
    """A `StringStringEntryProto` as a field of that number."""
    body = b"".join(
        as_varint(field << 3 | BYTES) + as_varint(len(text)) + text for field, text in ((1, key.encode()), (2, value.encode()))
    )
    return as_varint(number << 3 | BYTES) + as_varint(len(body)) + body


def _size(pieces: Iterable[Piece]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)


def _stream(data: bytes | mmap.mmap, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The pieces' bytes, gathered into chunks of about a mebibyte."""
    gathered, size = [], 0
    for piece in pieces:
        stretches = [piece] if isinstance(piece, bytes) else _stretches(data, *piece)
        for stretch in stretches:
            gathered.append(stretch)
            size += len(stretch)
            if size >= _CHUNK:
                yield b"".join(gathered)
                gathered, size = [], 0
    yield b"".join(gathered)


def _stretches(data: bytes | mmap.mmap, start: int, stop: int) -> Iterator[bytes]:
    """The stretch in chunks; pages of a mapped file that were copied are given back, so that memory stays bounded."""
    give_back = getattr(mmap, "MADV_DONTNEED", None) if isinstance(data, mmap.mmap) else None
    for at in range(start, stop, _CHUNK):
        end = min(at + _CHUNK, stop)
        yield data[at:end]
        if give_back is not None and isinstance(data, mmap.mmap) and end - at == _CHUNK:
            page = at - at % mmap.PAGESIZE
            data.madvise(give_back, page, end - page)
