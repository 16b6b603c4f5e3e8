"""Reading a model without its weights: from a file, a stream, bytes or a `ModelProto`.

No weight is ever loaded: large inline payloads are skipped on the way in, and the location of external data is never looked at.
"""

from __future__ import annotations

import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO

from edpc.errors import ModelError
from edpc.frontends.onnx.names import shown
from edpc.frontends.onnx.wire import MAX_GRAPH_DEPTH, MAX_PAYLOAD_BYTES, WireError, without_payloads

if TYPE_CHECKING:
    import onnx

_MEND = "give an .onnx file, or export or download it again"
# What a file that is no ONNX model starts with, what it is then, and the mend.
_SIGNATURES = (
    (b"version https://git-lfs", "it is a Git LFS pointer; fetch the file with `git lfs pull`"),
    (b"PK\x03\x04", "it is a zip archive; unpack it, or give a .pt2 archive that ends in .pt2"),
    (b"\x89PNG", "it is a PNG image; " + _MEND),
    (b"\x1f\x8b", "it is gzip-compressed; decompress it first"),
    (b"\x89HDF", "it is an HDF5 file; export the model to ONNX first"),
    (b"\x80\x02", "it is a Python pickle; export the model to ONNX first"),
)
_MAX_MESSAGE_BYTES = 2**31 - 1


def read_model(source: str | os.PathLike[str] | bytes | BinaryIO, *, name: str = "") -> onnx.ModelProto:
    """The model of a path, an open binary stream or bytes, its weights left out and its external data never opened.

    Args:
        source: a path (a pipe will do), a binary stream, or the serialised model.
        name: what messages call the source; by default the path, or 'the model'.

    Raises:
        ModelError: it cannot be read or is no ONNX model.
    """
    if isinstance(source, bytes):
        return _parse(source, shown(name)[1:-1] or "the model")
    if isinstance(source, str | os.PathLike):
        label = shown(name or os.fspath(source))[1:-1]
        try:
            if stat.S_ISCHR(os.stat(source).st_mode):
                raise ModelError(f"{label} is a device, not a file; {_MEND}")
            with open(source, "rb") as stream:
                return _read(stream, label)
        except (OSError, ValueError) as error:
            raise ModelError(f"{label} cannot be read: {_reason(error)}") from None
    return _read(source, shown(name)[1:-1] or "the model")


def strip_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model without the payload of large tensors; the given one stays as it is.

    Raises:
        ModelError: graphs nest too deep to be copied.
    """
    import onnx

    copy = onnx.ModelProto()
    try:
        for field, value in model.ListFields():
            if field.name == "graph":
                _copy_graph(value, copy.graph, 0)
            elif field.name == "functions":
                _copy_functions(value, copy)
            elif field.name != "training_info":
                _copy_field(copy, field, value)
    except _protobuf_error():
        raise ModelError(f"the model nests graphs more than {MAX_GRAPH_DEPTH} deep; flatten it") from None
    return copy


def _reason(error: Exception) -> str:
    if isinstance(error, IsADirectoryError):
        return "it is a directory; give the .onnx file inside it"
    if isinstance(error, FileNotFoundError):
        return "no such file; check the path"
    if isinstance(error, PermissionError):
        return "no permission; make it readable (`chmod +r`)"
    return f"{getattr(error, 'strerror', None) or error}; {_MEND}"


def _read(stream: BinaryIO, label: str) -> onnx.ModelProto:
    """Parses what the stream holds; what is no plain file goes to a temporary one first, so that memory stays bounded."""
    try:
        regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode) and stream.tell() == 0
    except (OSError, AttributeError, ValueError):
        regular = False
    if not regular:
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(stream, spool, 1 << 20)
            spool.flush()
            return _map(spool, label)
    return _map(stream, label)


def _map(stream: Any, label: str) -> onnx.ModelProto:
    if os.fstat(stream.fileno()).st_size == 0:
        raise ModelError(f"{label} is empty; {_MEND}")
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _parse(data, label)


def _parse(data: bytes | mmap.mmap, label: str) -> onnx.ModelProto:
    import onnx

    if not len(data):
        raise ModelError(f"{label} is empty; {_MEND}")
    head = data[:64]
    try:
        trimmed = without_payloads(data)
    except WireError as error:
        raise ModelError(_not_onnx(head, label, str(error))) from None
    if len(trimmed) > _MAX_MESSAGE_BYTES:
        raise ModelError(
            f"{label} holds {len(trimmed)} bytes without its weights, more than the 2 GiB that ONNX allows; split it"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(trimmed)
    except _protobuf_error():
        raise ModelError(_not_onnx(head, label, "a field is damaged or graphs nest too deep")) from None
    if not model.HasField("graph"):
        raise ModelError(_not_onnx(head, label, "it holds no graph"))
    return model


def _protobuf_error() -> type[Exception]:
    from google.protobuf.message import Error  # type: ignore[import-untyped]

    kind: type[Exception] = Error
    return kind


def _not_onnx(head: bytes, label: str, reason: str) -> str:
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return f"{label} is not an ONNX model: {what}"
    if head[4:8] == b"TFL3":
        return f"{label} is not an ONNX model: it is a TensorFlow Lite file; export the model to ONNX first"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return f"{label} is not an ONNX model: it is text; {_MEND}"
    return f"{label} is truncated or not an ONNX model: {reason}; {_MEND}"


def _copy_field(target: Any, field: Any, value: Any) -> None:
    """Sets one field that holds no tensor."""
    if field.is_repeated:
        if field.message_type is None:
            getattr(target, field.name).extend(value)
        else:
            getattr(target, field.name).MergeFrom(value)
    elif field.message_type is None:
        setattr(target, field.name, value)
    else:
        getattr(target, field.name).CopyFrom(value)


def _copy_functions(functions: Iterable[onnx.FunctionProto], target: onnx.ModelProto) -> None:
    for function in functions:
        copy = target.functions.add()
        for field, value in function.ListFields():
            if field.name == "node":
                for node in value:
                    _copy_node(node, copy.node.add(), 0)
            else:
                _copy_field(copy, field, value)


def _copy_graph(graph: onnx.GraphProto, target: onnx.GraphProto, depth: int) -> None:
    if depth > MAX_GRAPH_DEPTH:
        raise ModelError(f"the model nests graphs more than {MAX_GRAPH_DEPTH} deep; flatten it")
    for field, value in graph.ListFields():
        if field.name == "node":
            for node in value:
                _copy_node(node, target.node.add(), depth)
        elif field.name == "initializer":
            for tensor in value:
                _copy_tensor(tensor, target.initializer.add())
        elif field.name == "sparse_initializer":
            for sparse in value:
                _copy_sparse(sparse, target.sparse_initializer.add())
        else:
            _copy_field(target, field, value)


def _copy_node(node: onnx.NodeProto, target: onnx.NodeProto, depth: int) -> None:
    if node.ByteSize() <= MAX_PAYLOAD_BYTES:
        target.CopyFrom(node)
        return
    for field, value in node.ListFields():
        if field.name != "attribute":
            _copy_field(target, field, value)
            continue
        for attribute in value:
            copy = target.attribute.add()
            for part, content in attribute.ListFields():
                if part.name == "t":
                    _copy_tensor(content, copy.t)
                elif part.name == "tensors":
                    for tensor in content:
                        _copy_tensor(tensor, copy.tensors.add())
                elif part.name == "g":
                    _copy_graph(content, copy.g, depth + 1)
                elif part.name == "graphs":
                    for graph in content:
                        _copy_graph(graph, copy.graphs.add(), depth + 1)
                elif part.name == "sparse_tensor":
                    _copy_sparse(content, copy.sparse_tensor)
                elif part.name == "sparse_tensors":
                    for sparse in content:
                        _copy_sparse(sparse, copy.sparse_tensors.add())
                else:
                    _copy_field(copy, part, content)


def _copy_sparse(sparse: onnx.SparseTensorProto, target: onnx.SparseTensorProto) -> None:
    _copy_tensor(sparse.values, target.values)
    _copy_tensor(sparse.indices, target.indices)
    target.dims.extend(sparse.dims)


def _copy_tensor(tensor: onnx.TensorProto, target: onnx.TensorProto) -> None:
    if tensor.ByteSize() <= MAX_PAYLOAD_BYTES:
        target.CopyFrom(tensor)
        return
    values = 0
    for field, value in tensor.ListFields():
        if field.name.endswith("_data") and field.name != "external_data":
            # Eight bytes is the widest element: an upper bound that needs no copy of a repeated field.
            values += len(value) if field.name == "raw_data" else 8 * len(value)
        else:
            _copy_field(target, field, value)
    if values <= MAX_PAYLOAD_BYTES:
        target.CopyFrom(tensor)
