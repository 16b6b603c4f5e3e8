"""The annotated IR as text, which edpc reads back."""

from __future__ import annotations

from collections.abc import Sequence

from edpc.emit import EmitOptions
from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.ir.text import print_graph
from edpc.report import Report


def emit(items: Sequence[Report | Graph], options: EmitOptions) -> bytes:
    """The graphs, or those of the reports, one after the other.

    Raises:
        UsageError: a report came from a file and has no graph.
    """
    return "\n".join(print_graph(_graph(item)) for item in items).encode("utf-8", "backslashreplace")


def _graph(item: Report | Graph) -> Graph:
    graph = item if isinstance(item, Graph) else item.graph
    if graph is None:
        raise UsageError("a report that was read from a file has no graph to print; compile the model again")
    return graph
