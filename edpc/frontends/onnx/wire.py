"""An ONNX file without its weights: a walk over the protobuf wire format that leaves the payload of large tensors out.

Only tags, lengths and what is kept are touched, so a mapped file of any size costs as much as its graph.
Field numbers are those of `onnx.proto`; wire types those of the protobuf encoding.
"""

from __future__ import annotations

import mmap

# A tensor whose values take more bytes than this keeps its name, type and shape only.
MAX_PAYLOAD_BYTES = 1024
# No tensor has more axes: a longer list of dimensions is damage or an attack.
MAX_RANK = 64
# The protobuf parser refuses messages nested deeper than 100; three levels make one graph inside another.
_MAX_DEPTH = 96
MAX_GRAPH_DEPTH = _MAX_DEPTH // 3
# Values stored one field each (the unpacked encoding), in the whole file; beyond that the walk would take minutes.
_MAX_LOOSE_VALUES = 20_000_000

_VARINT, _FIXED64, BYTES, _FIXED32 = 0, 1, 2, 5

# Which fields of a message are messages that may hold tensors.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TRAINING_INFO = 20
_DIMS = 1
_PAYLOAD = frozenset({4, 5, 6, 7, 9, 10, 11})  # float, int32, string, int64, raw, double and uint64 data


class WireError(ValueError):
    """The bytes are not the protobuf message they should be; says what is wrong and where."""


def without_payloads(data: bytes | mmap.mmap) -> bytes:
    """The same model with the payload of every tensor above `MAX_PAYLOAD_BYTES`, and all training graphs, left out.

    Args:
        data: a serialised `ModelProto`; a mapped file is read only where something is kept.

    Raises:
        WireError: the bytes are truncated, are no protobuf, or nest graphs too deep.
    """
    return Walk(data).message(0, len(data), "model", 0)


def as_varint(value: int) -> bytes:
    """The number as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Walk:
    """A walk over a serialised `ModelProto`.

    Attributes:
        data: the message. loose_values: tensor values met so far that are stored one field each.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.loose_values = 0

    def message(self, start: int, end: int, kind: str, depth: int) -> bytes:
        """The message in [start, end) with the payloads inside it left out."""
        if depth > _MAX_DEPTH:
            raise WireError(f"graphs nest more than {MAX_GRAPH_DEPTH} deep at byte {start}")
        children = _CHILDREN[kind]
        chunks: list[bytes] = []
        kept = at = start
        while at < end:
            field = at
            number, wire, at, stop = self.field(at, end)
            if wire == BYTES and stop - at > MAX_PAYLOAD_BYTES:
                child = children.get(number)
                if child is not None:
                    body = self.tensor(at, stop) if child == "tensor" else self.message(at, stop, child, depth + 1)
                    if len(body) < stop - at:
                        chunks += [self.data[kept:field], as_varint(number << 3 | BYTES), as_varint(len(body)), body]
                        kept = stop
                elif kind == "model" and number == _TRAINING_INFO:
                    chunks.append(self.data[kept:field])
                    kept = stop
            at = stop
        chunks.append(self.data[kept:end])
        return b"".join(chunks)

    def tensor(self, start: int, end: int) -> bytes:
        """The tensor in [start, end); without its values where they are large."""
        chunks: list[bytes] = []
        kept = at = start
        payload = rank_bytes = 0
        while at < end:
            field = at
            number, wire, at, stop = self.field(at, end)
            if number in _PAYLOAD:
                if wire != BYTES or number == 6:
                    self.loose_values += 1
                    if self.loose_values > _MAX_LOOSE_VALUES:
                        raise WireError(f"more than {_MAX_LOOSE_VALUES} tensor values are stored one by one at byte {field}")
                payload += stop - at
                if kept < field:
                    chunks.append(self.data[kept:field])
                kept = stop
            elif number == _DIMS:
                # Unpacked, a dimension is a field; packed, it takes up to ten bytes of one.
                rank_bytes += 10 if wire != BYTES else stop - at
                if rank_bytes > 10 * MAX_RANK:
                    raise WireError(f"a tensor has more than {MAX_RANK} dimensions at byte {field}")
            at = stop
        if payload <= MAX_PAYLOAD_BYTES:
            return self.data[start:end]
        chunks.append(self.data[kept:end])
        return b"".join(chunks)

    def field(self, at: int, end: int) -> tuple[int, int, int, int]:
        """Number and wire type of the field at `at`, and where its content begins and ends."""
        field = at
        tag = self.data[at]
        at += 1
        if tag > 0x7F:
            tag, at = self.varint(field, end)
        wire = tag & 7
        if wire == BYTES:
            size, begin = self.varint(at, end)
            stop = begin + size
        elif wire == _VARINT:
            begin = at
            _, stop = self.varint(at, end)
        elif wire in (_FIXED32, _FIXED64):
            begin = at
            stop = at + (4 if wire == _FIXED32 else 8)
        else:
            raise WireError(f"no protobuf field begins at byte {field}")
        if tag < 8:
            raise WireError(f"no protobuf field begins at byte {field}")
        if stop > end:
            raise WireError(f"the field at byte {field} runs {stop - end} bytes past its end")
        return tag >> 3, wire, begin, stop

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """The number at `at` and where it ends."""
        first, value, shift = at, 0, 0
        while at < end:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
            if shift > 63:
                raise WireError(f"the number at byte {first} has no end")
        raise WireError(f"the number at byte {first} is cut off")
