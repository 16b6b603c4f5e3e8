"""Analyses: what several passes ask of a graph. Computed when first asked for and kept until a pass changes the graph.

index = ctx.analysis(graph, topological_index)
"""

from __future__ import annotations

from edpc.ir import Graph, Group, Use


def users(graph: Graph) -> dict[str, tuple[Use, ...]]:
    """By operator: every use of its results, consumers in insertion order."""
    return {name: tuple(graph.uses(name)) for name in graph.dag}


def topological_index(graph: Graph) -> dict[str, int]:
    """By operator: its position in an order in which all can run. A reader always has the greater index."""
    return {name: index for index, name in enumerate(graph.order())}


def group_of(graph: Graph) -> dict[str, Group]:
    """By operator that computes: the group it is a member of; empty before fusion."""
    return {member: group for group in graph.groups for member in group.members}
