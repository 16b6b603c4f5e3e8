"""What an operator kind is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from edpc.ir import Operator, Work


class Family(StrEnum):
    """Kinds that machines treat alike."""

    MATMUL = "matmul"
    CONVOLUTION = "convolution"
    RECURRENT = "recurrent"
    ELEMENTWISE = "elementwise"
    QUANTIZATION = "quantization"
    REDUCTION = "reduction"
    NORMALIZATION = "normalization"
    SOFTMAX = "softmax"
    POOLING = "pooling"
    GATHER = "gather"
    MOVEMENT = "movement"
    VIEW = "view"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class OperatorKind:
    """One kind of the vocabulary, defined once for all frontends.

    Attributes:
        name: the kind. family: its family.
        work: from the operator's types and attributes to its work; never looks at the graph.
        summary: operands by slot, attributes and the counting rule, in one sentence.
    """

    name: str
    family: Family
    work: Callable[[Operator], Work]
    summary: str


KINDS: dict[str, OperatorKind] = {}


def define(kinds: Iterable[OperatorKind]) -> frozenset[str]:
    """Enters kinds into the vocabulary; answers their names.

    Raises:
        ValueError: a name is taken.
    """
    names = []
    for kind in kinds:
        if kind.name in KINDS:
            raise ValueError(f"operator kind {kind.name!r} is defined twice")
        KINDS[kind.name] = kind
        names.append(kind.name)
    return frozenset(names)


def of_family(*families: Family) -> frozenset[str]:
    """Names of the kinds of these families."""
    return frozenset(kind.name for kind in KINDS.values() if kind.family in families)
