"""The operator vocabulary: every kind once, with its work rule, shared by all frontends.

A work rule reads the operator's own types and attributes and nothing else. No frontend, pass or target is known here.
"""

from edpc.operators.kind import KINDS, Family, OperatorKind, of_family

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
ACTIVATION = frozenset({"relu", "gelu", "sigmoid", "tanh"}) & ELEMENTWISE
ATTENTION_POINTWISE = frozenset({"add", "mul", "div", "cast", "where"}) & ELEMENTWISE

__all__ = ["KINDS", "Family", "OperatorKind", "of_family"]
