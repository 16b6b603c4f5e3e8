"""Contracts: which facts a graph has, which a pipeline needs, and who produces them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.pipeline.base import Fact, Pass
from edpc.pipeline.text import Element, Fixpoint, passes_of

# Facts that leave no record in the graph: whoever hands one over vouches for them.
INVISIBLE = frozenset({Fact.CLEAN, Fact.PRECISION})

# The fields of an operator that record a fact.
_FIELDS = {Fact.WORK: ("work",), Fact.COST: ("cost", "separate"), Fact.SHARES: ("share",)}


def facts_in(graph: Graph) -> frozenset[Fact]:
    """The facts that the graph's own records show."""
    operators = [op for _, op in graph.items() if op.is_compute]
    if not operators:
        return frozenset(Fact) - INVISIBLE
    shown = {
        Fact.WORK: all(op.work is not None for op in operators),
        Fact.GROUPS: bool(graph.groups),
        Fact.COST: graph.estimate is not None
        and all(group.kernel is not None for group in graph.groups)
        and all(op.cost is not None for op in operators),
        Fact.SHARES: all(op.share is not None for op in operators),
    }
    return frozenset(fact for fact, is_shown in shown.items() if is_shown)


def drop_facts(graph: Graph, facts: Iterable[Fact]) -> None:
    """The graph's records of these facts are gone, so that nobody reads what a later change made untrue."""
    stale = set(facts)
    if Fact.GROUPS in stale:
        graph.groups = ()
    if Fact.COST in stale:
        graph.estimate = None
        graph.groups = [replace(group, kernel=None) for group in graph.groups]
    fields = dict.fromkeys(field for fact in stale for field in _FIELDS.get(fact, ()))
    if fields:
        for name, op in graph.items():
            if any(getattr(op, field) is not None for field in fields):
                graph.annotate(name, **fields)


def after(each: Pass, have: frozenset[Fact]) -> frozenset[Fact]:
    """The facts that hold after the pass changed the graph."""
    return (have & each.preserves) | each.produces


def check_contract(pipeline: Iterable[Element], have: frozenset[Fact], known: Mapping[str, type[Pass]] | None = None) -> None:
    """Every pass of the pipeline finds the facts it requires, whatever the passes before it change.

    Args:
        pipeline: its elements.
        have: facts that hold before it runs.
        known: passes that may be named as producers beside those of the pipeline; None for the registered ones.

    Raises:
        UsageError: names the pass, the fact it lacks, and which pass would produce it.
    """
    elements = list(pipeline)
    lost: dict[Fact, Pass] = {}
    for element in elements:
        # The second round of a fixpoint finds what the first one left.
        turns = element.passes * 2 if isinstance(element, Fixpoint) else (element,)
        for each in turns:
            for fact in sorted(each.requires - have):
                raise UsageError(_complaint(each, fact, lost.get(fact), passes_of(elements), known))
            remaining = after(each, have)
            lost |= dict.fromkeys(have - remaining, each)
            have = remaining


def _complaint(each: Pass, fact: Fact, dropper: Pass | None, whole: list[Pass], known: Mapping[str, type[Pass]] | None) -> str:
    if known is None:
        from edpc.registry import passes

        known = passes()
    candidates: list[type[Pass]] = [*(type(one) for one in whole), *known.values()]
    producer = next((cls.name for cls in candidates if fact in cls.produces and cls.name != each.name), None)
    needs = f"pass {each.name} needs the fact {fact.value!r}, "
    if dropper is None:
        why, mend = "which nothing before it produces", f"put {producer} before it"
    else:
        why, mend = f"which {dropper.name} drops before it", f"put {producer} between them"
    return f"{needs}{why}; {mend if producer else 'no known pass produces it'}"
