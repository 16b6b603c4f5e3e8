"""What one line of an operator table says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edpc.frontends.fx.options import Reader, nothing
from edpc.frontends.fx.site import Site
from edpc.ir import Attribute

Lowering = Callable[[Site], None]


@dataclass(frozen=True, slots=True)
class Row:
    """A call becomes one operator of this kind.

    Attributes:
        kind: of the vocabulary.
        operands: names of the arguments that are operands, in order; numbers among them become constants. None: all tensors.
        options: reads the attributes.
    """

    kind: str
    operands: tuple[str, ...] | None = None
    options: Reader = nothing

    def __call__(self, site: Site) -> None:
        """Lowers the call."""
        operands = site.tensors() if self.operands is None else site.given(*self.operands)
        site.emit_results(self.kind, operands, **self.options(site))


@dataclass(frozen=True, slots=True)
class Chain:
    """A call becomes operators of these kinds, each reading what the one before answers; the first reads the operands."""

    kinds: tuple[str, ...]
    operands: tuple[str, ...] = ("self",)

    def __call__(self, site: Site) -> None:
        """Lowers the call."""
        values = site.given(*self.operands)
        for place, kind in enumerate(self.kinds[:-1]):
            values = [site.emit(kind, values, (site.result_type(),), f"{kind}{place}")]
        site.emit_results(self.kinds[-1], values)


@dataclass(frozen=True, slots=True)
class Filled:
    """A call that makes a tensor from nothing: known before the network runs, unless its size or a later write makes it data."""

    kind: str
    options: dict[str, Attribute]

    def __call__(self, site: Site) -> None:
        """Lowers the call."""
        found = site.result_type()
        name = site.node.results[0] if site.node.results else None
        if found.is_static and name not in site.scope.written:
            site.bind(0, site.scope.builder.source(site.node.name, "constant", found, site.location))
        else:
            site.emit_results(self.kind, (), **self.options)


def ignored(site: Site) -> None:
    """The call checks something and computes nothing."""
