"""What torch's exporter made of a network before it wrote it down, as its own marks on the nodes tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from edpc.frontends.onnx.names import shown

if TYPE_CHECKING:
    import onnx

_RULE = "pkg.onnxscript.rewriter.rule_name"
_NAMESPACE = "namespace"
_FOLDED_NORM = re.compile(r"(?:Fuse)?BatchNorm(?:alization)?Into\w+")
# `module: class/call: operator` at the end of a namespace; a layer of torch.nn is known by its class, all else by its operator.
_LAYER = re.compile(r"(/?[^/]*: torch\.nn\.modules\.\w+\.(\w+))/[^/]*$")
_CALL = re.compile(r"([^/]*: (aten\.\w+?)(?:\.\w+)?)$")
# What moves or renames elements is no spelling of anything.
_LAYOUT = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "CastLike"})
# A product and its bias, or a sigmoid and what it gates: so many operators are one call still.
_PAIR = 2


def exporter_notes(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """What the exporter folded away, and which layers and calls it wrote as several: why the same network may cost otherwise.

    Args:
        nodes: those that run, in any order.
    """
    folded: Counter[str] = Counter()
    spelled: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        for prop in node.metadata_props:
            if node.op_type in _LAYOUT:
                continue
            if prop.key == _RULE:
                folded.update({"batch norms" if _FOLDED_NORM.search(prop.value) else prop.value: 1})
            elif prop.key == _NAMESPACE and (call := _LAYER.search(prop.value) or _CALL.search(prop.value)):
                spelled[call[2], call[1]] += 1
    notes = []
    if norms := folded.pop("batch norms", 0):
        notes.append(f"batch norms that the exporter folded into the weights of convolutions or products: {norms}")
    if folded:
        rules = ", ".join(shown(rule) for rule in sorted(folded)[:_PAIR])
        notes.append(f"operators that the exporter rewrote, by rules such as {rules}: {folded.total()}")
    calls = Counter(name for (name, _), size in spelled.items() if size > _PAIR)
    if calls:
        listed = ", ".join(f"{count} {name}" for name, count in sorted(calls.items()))
        notes.append(f"layers and calls of torch that the exporter wrote out as more than {_PAIR} operators each: {listed}")
    return notes
