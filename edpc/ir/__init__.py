"""The intermediate representation: types, operators with facts, the graph, its verifier and its text.

Only this folder touches raw networkx attributes. Nothing here knows a frontend, a pass or a target.
"""

from edpc.ir.facts import Contraction, Cost, Elasticity, Estimate, Group, Kernel, ModelInfo, Refusal, Share, Work
from edpc.ir.graph import Flow, Graph, Use
from edpc.ir.operator import RETURN_KIND, SOURCE_KINDS, Attribute, Location, Operator, Value, attributes
from edpc.ir.types import DTYPE_BITS, FLOAT_DTYPES, TensorType

__all__ = [
    "DTYPE_BITS",
    "FLOAT_DTYPES",
    "RETURN_KIND",
    "SOURCE_KINDS",
    "Attribute",
    "Contraction",
    "Cost",
    "Elasticity",
    "Estimate",
    "Flow",
    "Graph",
    "Group",
    "Kernel",
    "Location",
    "ModelInfo",
    "Operator",
    "Refusal",
    "Share",
    "TensorType",
    "Use",
    "Value",
    "Work",
    "attributes",
]
