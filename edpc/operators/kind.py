"""What an operator kind is, the table of all of them, and the work of an operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache

from edpc.errors import ModelError
from edpc.ir import Attribute, Operator, TensorType, Work


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
        work: from the operator's types and attributes to the work of one execution; never looks at the graph. Ask
            `edpc.operators.work`, which counts all executions.
        summary: operands by slot, attributes and the counting rule, in one sentence.
        operands, results: how many there must at least be.
    """

    name: str
    family: Family
    work: Callable[[Operator], Work]
    summary: str
    operands: int = 1
    results: int = 1


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


def work(op: Operator) -> Work:
    """The work of an operator over all its executions, by the rule of its kind.

    Attributes every kind understands: `executions` (int, default 1; 0 for a branch not taken) multiplies counts and bytes
    and the steps of contractions; `compute_precision` (str) overrides the arithmetic format that follows from the operands.

    Raises:
        ModelError: the kind is not in the vocabulary, operands or results are missing, or an attribute makes no sense.
    """
    return _work(op.kind, op.inputs, op.outputs, op.attributes)


# Networks repeat their layers, so most operators are a copy of one seen before.
@lru_cache(maxsize=1 << 16)
def _work(
    kind: str,
    inputs: tuple[TensorType, ...],
    outputs: tuple[TensorType, ...],
    attributes: tuple[tuple[str, Attribute], ...],
) -> Work:
    rule = KINDS.get(kind)
    if rule is None:
        close = get_close_matches(kind, KINDS, n=1)
        mend = f"; did you mean {close[0]!r}?" if close else ""
        raise ModelError(f"operator kind {kind!r} is not in the vocabulary{mend}")
    if len(inputs) < rule.operands:
        raise ModelError(f"{kind} needs at least {rule.operands} operands, not {len(inputs)}: {rule.summary}")
    if len(outputs) < rule.results:
        raise ModelError(f"{kind} needs at least {rule.results} results, not {len(outputs)}: {rule.summary}")
    op = Operator(kind, inputs, outputs, attributes)
    once = rule.work(op)
    executions = op.attribute("executions", 1)
    if not isinstance(executions, int) or executions < 0:
        raise ModelError(f"{kind}: attribute executions must be a count, not {executions!r}")
    return once if executions == 1 else _repeated(once, executions)


def _repeated(once: Work, executions: int) -> Work:
    return replace(
        once,
        macs=once.macs * executions,
        vector_ops=once.vector_ops * executions,
        transcendentals=once.transcendentals * executions,
        reads=tuple(size * executions for size in once.reads),
        writes=tuple(size * executions for size in once.writes),
        contractions=tuple(replace(c, steps=c.steps * executions) for c in once.contractions),
        rows=once.rows * executions,
    )
