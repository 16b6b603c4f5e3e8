"""What one line of an operator table says."""

from __future__ import annotations

from dataclasses import dataclass

from edpc.frontends.onnx.options import Reader, nothing
from edpc.frontends.onnx.site import Lowering, Site

# Contractions see the precision that a quantised weight is stored in, in these many leading slots.
_STORED_SLOTS = {
    "matmul": 2,
    "einsum": 2,
    "expert_matmul": 2,
    "conv": 2,
    "conv_transpose": 2,
    "deform_conv": 2,
    "lstm": 3,
    "gru": 3,
    "rnn": 3,
}

__all__ = ["Lowering", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """A node becomes one operator of this kind.

    Attributes:
        kind: of the vocabulary.
        slots: the operands that hold data; the others (shapes, axes, sizes) are attributes or nothing. None: all.
        options: reads the attributes.
    """

    kind: str
    slots: tuple[int, ...] | None = None
    options: Reader = nothing

    def __call__(self, site: Site) -> None:
        """Lowers the node."""
        stored = _STORED_SLOTS.get(self.kind, 0)
        slots = range(len(site.inputs)) if self.slots is None else self.slots
        operands = [site.value(slot, slot < stored) for slot in slots if site.has(slot)]
        site.emit_results(self.kind, operands, **self.options(site))
