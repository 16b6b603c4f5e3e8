"""A report beside the graph it was built from: facts that the JSON leaves out, for the forms that need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edpc.errors import UsageError
from edpc.ir import Graph, Group, Kernel
from edpc.report import OperatorReport, Report, SubgraphReport


@dataclass(frozen=True, slots=True)
class Part:
    """A subgraph of the report with its group, its kernel and its operators.

    Attributes:
        subgraph, operators: as the report has them. names: of the operators in the graph.
        group, kernel: as the graph has them.
    """

    subgraph: SubgraphReport
    operators: tuple[OperatorReport, ...]
    names: tuple[str, ...]
    group: Group
    kernel: Kernel


def graph_of(report: Report) -> Graph:
    """The graph of the report.

    Raises:
        UsageError: the report came from a file.
    """
    if report.graph is None:
        raise UsageError("a report that was read from a file has no graph to print; compile the model again")
    return report.graph


def parts(report: Report) -> Iterator[Part]:
    """The subgraphs in order of execution; the report lists operators in the order of its subgraphs.

    Raises:
        UsageError: the report came from a file.
    """
    operators = iter(report.operators)
    for group, subgraph in zip(graph_of(report).groups, report.subgraphs, strict=True):
        members = tuple(operator for _, operator in zip(group.members, operators, strict=False))
        assert group.kernel is not None  # a report is built from groups with a cost only
        yield Part(subgraph, members, group.members, group, group.kernel)
