"""The verifier: small named rules, each of which holds for every graph at every stage. All are linear in nodes plus edges.

Rules stand in order: one may rely on those before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edpc.errors import VerifyError
from edpc.ir.fact_rules import FACT_RULES, GROUP_RULES
from edpc.ir.graph import Graph
from edpc.ir.snapshot import Snapshot
from edpc.ir.structure_rules import PAYLOAD_RULES, STRUCTURE_RULES
from edpc.ir.subject import Check, Subject


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name as errors give it, what holds, and what finds where it does not."""

    name: str
    holds: str
    check: Check


def _rules(checks: tuple[Check, ...]) -> tuple[Rule, ...]:
    return tuple(
        Rule(check.__name__.replace("_", "-"), (check.__doc__ or "").partition("\n")[0].rstrip("."), check) for check in checks
    )


_STRUCTURE, _GROUPS, _FACTS = _rules(STRUCTURE_RULES), _rules(GROUP_RULES), _rules(FACT_RULES)
RULES: tuple[Rule, ...] = (*_STRUCTURE, *_GROUPS, *_FACTS)


def verify(graph: Graph, kinds: frozenset[str] | None = None, since: Snapshot | None = None) -> None:
    """Every rule holds for the graph.

    Args:
        graph: at any stage of the pipeline.
        kinds: the vocabulary, without sources and the return; None where any kind may stand.
        since: the graph when it was last verified; rules about what has not changed since are not tried again.

    Raises:
        VerifyError: the first violation, with the node and the rule.
    """
    subject = Subject(graph, kinds)
    rules = RULES
    if since is not None and _well_formed(graph):
        if since.same(graph):
            return
        if since.same_structure(graph):
            rules = _FACTS if since.same_groups(graph) else (*_GROUPS, *_FACTS)
    for rule in rules:
        for who, what in rule.check(subject):
            raise VerifyError(f"{who} {what} (rule {rule.name} of graph @{graph.name}: {rule.holds})")


def _well_formed(graph: Graph) -> bool:
    """Whether the rules about payloads hold, which all others and snapshots rely on."""
    return not any(violation for check in PAYLOAD_RULES for violation in check(Subject(graph, None)))
