"""The report: what a compiled graph says, as records whose parts sum to the whole.

Built from an annotated graph, read by emitters and by users. Nothing here prints, and nothing reaches back into the graph's
passes; a figure that the JSON shows is computed here once.
"""

from edpc.report.build import build_report, elasticities_of
from edpc.report.compare import Comparison, ComparisonRow, build_comparison
from edpc.report.explain import CAUSES, CausePart, Explanation
from edpc.report.records import (
    ByCause,
    Coverage,
    ElasticityReport,
    EnergyByComponent,
    Execution,
    Finding,
    Fusion,
    Interval,
    LatencyByComponent,
    Model,
    ModelInput,
    OperatorReport,
    Report,
    Saved,
    Serving,
    SubgraphReport,
    TargetReport,
    Totals,
    UnknownOperator,
)

__all__ = [
    "CAUSES",
    "ByCause",
    "CausePart",
    "Comparison",
    "ComparisonRow",
    "Coverage",
    "ElasticityReport",
    "EnergyByComponent",
    "Execution",
    "Explanation",
    "Finding",
    "Fusion",
    "Interval",
    "LatencyByComponent",
    "Model",
    "ModelInput",
    "OperatorReport",
    "Report",
    "Saved",
    "Serving",
    "SubgraphReport",
    "TargetReport",
    "Totals",
    "UnknownOperator",
    "build_comparison",
    "build_report",
    "elasticities_of",
]
