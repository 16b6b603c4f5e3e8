"""The walk over one ONNX graph: what is known beforehand is remembered, everything else is lowered by the table."""

from __future__ import annotations

from edpc.frontends.onnx.rows import Row
from edpc.frontends.onnx.site import Offline, Scope, Site

# Operators whose results differ from run to run although their operands do not.
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
_UNKNOWN = Row("unknown")


def walk(scope: Scope) -> None:
    """Lowers every node of the scope's graph, in its order."""
    typed = scope.typed
    for index, node in enumerate(typed.nodes):
        site = Site(scope, index, node)
        domain = node.domain
        lowering = scope.table.get(("" if domain == "ai.onnx" else domain, node.op_type))
        if index in typed.folded or (lowering is not None and _is_known_beforehand(site)):
            for name in filter(None, site.outputs):
                scope.know(name, site)
            continue
        (lowering or _UNKNOWN)(site)
        for name in site.outputs:
            if name in typed.constants:
                scope.know(name, site)


def _is_known_beforehand(site: Site) -> bool:
    """Whether the node computes the same in every run, from tensors that are known before: done once, not at run time."""
    if any(not isinstance(site.scope.find(name), Offline) for name in site.inputs if name):
        return False
    return site.node.op_type not in _RANDOM and site.index not in site.scope.typed.subgraphs
