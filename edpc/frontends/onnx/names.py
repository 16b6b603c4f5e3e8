"""Names out of a model are untrusted text: shown escaped and short, never raw."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_LONGEST = 120


def text(name: object) -> str:
    """The name as text; protobuf hands out bytes where a string is not UTF-8."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def shown(name: object) -> str:
    """The text in quotes, with control and format characters escaped and the middle of a long one left out."""
    plain = text(name)
    if len(plain) > _LONGEST:
        plain = f"{plain[: _LONGEST // 2]}...{plain[-_LONGEST // 2 :]}"
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in plain) + "'"


def node_label(node: onnx.NodeProto, index: int | None = None) -> str:
    """How messages call a node: its name and operator, or what it produces where it has no name."""
    operator = shown(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)[1:-1]
    if node.name:
        return f"node {shown(node.name)} ({operator})"
    if node.output:
        return f"the {operator} node that produces {shown(node.output[0])}"
    return f"node number {index} ({operator})"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A closing question with the nearest known name, or nothing where none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""
