"""The operator vocabulary: every kind once, with its work rule, shared by all frontends.

A work rule reads the operator's own types and attributes and nothing else. No frontend, pass or target is known here.
Sets of kinds by family are what fusion rules and modifiers are written with.
"""

from edpc.operators import (
    classical,
    contraction,
    convolution,
    elementwise,
    gather,
    movement,
    normalization,
    ordering,
    other,
    pooling,
    quantization,
    recurrent,
    reduction,
    signal,
    training,
    view,
)
from edpc.operators.kind import KINDS, Family, OperatorKind, define, of_family, work

_MODULES = (
    contraction,
    convolution,
    recurrent,
    elementwise,
    quantization,
    reduction,
    normalization,
    pooling,
    gather,
    movement,
    ordering,
    view,
    signal,
    training,
    classical,
    other,
)
for _module in _MODULES:
    define(_module.DEFINITIONS)

MATMUL = of_family(Family.MATMUL)
CONVOLUTION = of_family(Family.CONVOLUTION)
RECURRENT = of_family(Family.RECURRENT)
CONTRACTION = MATMUL | CONVOLUTION
ELEMENTWISE = of_family(Family.ELEMENTWISE)
QUANTIZATION = of_family(Family.QUANTIZATION)
REDUCTION = of_family(Family.REDUCTION)
NORMALIZATION = of_family(Family.NORMALIZATION)
SOFTMAX = of_family(Family.SOFTMAX)
POOLING = of_family(Family.POOLING)
GATHER = of_family(Family.GATHER)
DATA_MOVEMENT = of_family(Family.MOVEMENT)
VIEW = of_family(Family.VIEW)
ACTIVATION = elementwise.ACTIVATION
# What may stand between the two products of an attention beside its softmax: scale, mask, soft cap, guards against empty rows.
ATTENTION_POINTWISE = frozenset({"add", "sub", "mul", "div", "cast", "where", "tanh", "is_nan"}) & ELEMENTWISE

__all__ = [
    "ACTIVATION",
    "ATTENTION_POINTWISE",
    "CONTRACTION",
    "CONVOLUTION",
    "DATA_MOVEMENT",
    "ELEMENTWISE",
    "GATHER",
    "KINDS",
    "MATMUL",
    "NORMALIZATION",
    "POOLING",
    "QUANTIZATION",
    "RECURRENT",
    "REDUCTION",
    "SOFTMAX",
    "VIEW",
    "Family",
    "OperatorKind",
    "define",
    "of_family",
    "work",
]
