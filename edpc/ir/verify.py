"""The verifier: small named rules, each of which holds for every graph at every stage. All are linear in nodes plus edges.

Rules stand in order: one may rely on those before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edpc.errors import VerifyError
from edpc.ir.fact_rules import FACT_RULES
from edpc.ir.graph import Graph
from edpc.ir.structure_rules import STRUCTURE_RULES
from edpc.ir.subject import Check, Subject


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name as errors give it, what holds, and what finds where it does not."""

    name: str
    holds: str
    check: Check


RULES: tuple[Rule, ...] = tuple(
    Rule(check.__name__.replace("_", "-"), (check.__doc__ or "").partition("\n")[0].rstrip("."), check)
    for check in (*STRUCTURE_RULES, *FACT_RULES)
)


def verify(graph: Graph, kinds: frozenset[str] | None = None) -> None:
    """Every rule holds for the graph.

    Args:
        graph: at any stage of the pipeline.
        kinds: the vocabulary, without sources and the return; None where any kind may stand.

    Raises:
        VerifyError: the first violation, with the node and the rule.
    """
    subject = Subject(graph, kinds)
    for rule in RULES:
        for who, what in rule.check(subject):
            raise VerifyError(f"{who} {what} (rule {rule.name} of graph @{graph.name}: {rule.holds})")
