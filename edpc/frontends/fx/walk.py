"""The walk over one graph of a program: every call is lowered by the table, and what it writes in place is kept track of."""

from __future__ import annotations

from edpc.frontends.fx.aliasing import functional, is_in_place, written_argument
from edpc.frontends.fx.site import Scope, Site
from edpc.ir import Value


def walk(scope: Scope) -> None:
    """Lowers every call of the scope's graph, in its order."""
    for node in scope.body.nodes:
        lowering = scope.table.get(node.target)
        in_place = lowering is None and is_in_place(node.target)
        if in_place:
            lowering = scope.table.get(functional(node.target))
        site = Site(scope, node, in_place)
        if lowering is not None:
            lowering(site)
        else:
            site.emit_results("unknown", site.tensors())
        name = written_argument(node)
        if name is not None and name in scope.entries and node.results and node.results[0] in scope.entries:
            _write(site, name, scope.entries[node.results[0]])


def _write(site: Site, name: str, value: Value) -> None:
    """What is read under that name from here on is the value, and what it is a view of has the value written into it."""
    scope = site.scope
    scope.entries[name] = value
    base = scope.bases.get(name)
    while base is not None and base in scope.entries:
        have, want = site.type_of(value), scope.type(base)
        whole = have.is_static and have.numel == want.numel and have.dtype == want.dtype
        seen = value
        if not whole:
            # Only the part that is written moves.
            value = site.emit("tensor_scatter", (scope.entries[base], seen), (want,), "write")
        elif have != want:
            value = site.emit("reshape", (seen,), (want,), "write")
        scope.entries[base] = value
        name, base = base, scope.bases.get(base)
    if name in scope.body.inputs:
        scope.builder.kept.append(value)  # state that outlives the call: written though no result reads it
