"""Where a node stands in the network: module paths, as exporters write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edpc.ir import Location

if TYPE_CHECKING:
    import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
_NAMESPACE = "namespace"
# The end of a namespace inside a call that torch runs as one kernel and its exporter may write out.
_KERNEL = re.compile(r"([^/:]+): aten\.\w*attention\w*(?:\.\w+)?$")
_STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


def operator_type(node: onnx.NodeProto) -> str:
    """The operator's name, with its domain where that is not the standard's own."""
    return node.op_type if node.domain in _STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"


def locate(node: onnx.NodeProto, source_name: str) -> Location:
    """The location every operator lowered from this node carries."""
    return Location(source_name, operator_type(node), module_path(node), kernel_call(node))


def kernel_call(node: onnx.NodeProto) -> str:
    """The attention call of torch that the exporter wrote out as this node and others, by its unique name; else empty."""
    for prop in node.metadata_props:
        if prop.key == _NAMESPACE and (found := _KERNEL.search(prop.value)):
            return found[1]
    return ""


def module_path(node: onnx.NodeProto) -> str:
    """Dotted path of the module the node belongs to; empty where the model does not say.

    Three spellings are understood: the scope list and the `namespace` that torch's dynamo exporter leaves in
    `metadata_props` (last entry: the node itself), and node names like `/encoder/layer.0/Conv` of its older exporter.
    """
    for prop in node.metadata_props:
        if prop.key == _SCOPES:
            return _last_scope(prop.value)
    for prop in node.metadata_props:
        if prop.key == _NAMESPACE:
            return _last_namespace(prop.value)
    if node.name.startswith("/"):
        return ".".join(part for part in node.name.split("/")[:-1] if part)
    return ""


def _last_scope(text: str) -> str:
    """The last but one entry of a printed Python list of strings; parsed by hand because there is one per node."""
    entries = text.strip()[1:-1].rsplit(", ", 2)
    return entries[-2].strip().strip("'\"") if len(entries) >= 2 else ""


def _last_namespace(text: str) -> str:
    """The module of the last but one entry of `module: class/module: class/node: operator`."""
    entries = text.rsplit("/", 2)
    return entries[-2].partition(":")[0].strip() if len(entries) >= 2 else ""
