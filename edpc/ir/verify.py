"""The verifier: small named rules, each of which holds for every graph at every stage. All are linear in nodes plus edges.

Rules stand in order: one may rely on those before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edpc.errors import ModelError, VerifyError
from edpc.ir.fact_rules import FACT_RULES, GROUP_RULES
from edpc.ir.graph import Graph
from edpc.ir.snapshot import Change, Step
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


_PAYLOADS, _STRUCTURE = _rules(PAYLOAD_RULES), _rules(STRUCTURE_RULES)
_GROUPS, _FACTS = _rules(GROUP_RULES), _rules(FACT_RULES)
RULES: tuple[Rule, ...] = (*_PAYLOADS, *_STRUCTURE, *_GROUPS, *_FACTS)
# What must be tried again after a change. Nobody sees all that a raw payload may hold, so payloads always are.
_AFTER = {
    Change.NOTHING: _PAYLOADS,
    Change.FACTS: (*_PAYLOADS, *_FACTS),
    Change.GROUPS: (*_PAYLOADS, *_GROUPS, *_FACTS),
    Change.STRUCTURE: RULES,
}


def verify(graph: Graph, kinds: frozenset[str] | None = None, step: Step | None = None) -> None:
    """Every rule holds for the graph.

    Args:
        graph: at any stage of the pipeline.
        kinds: the vocabulary, without sources and the return; None where any kind may stand.
        step: from the graph as it was when it last verified to what it is now, so that only what may have broken is looked at;
            None to look at everything.

    Raises:
        VerifyError: the first violation, with the node and the rule.
    """
    subject = Subject(graph, kinds, step)
    for rule in RULES if step is None else _AFTER[step.change]:
        for who, what in rule.check(subject):
            raise VerifyError(f"{who} {what} (rule {rule.name} of graph @{graph.name}: {rule.holds})")


def verify_input(graph: Graph, file: str, kinds: frozenset[str] | None = None) -> None:
    """Every rule holds for a graph that a person wrote or edited.

    Args:
        graph: as read from text.
        file: what the error calls the text.
        kinds: as of `verify`.

    Raises:
        ModelError: the first violation: the text is at fault, not a pass.
    """
    try:
        verify(graph, kinds)
    except VerifyError as error:
        raise ModelError(f"{file}: {error}") from error
