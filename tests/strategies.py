"""Hypothesis strategies: valid random graphs, with or without facts, and the pieces they are made of."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import strategies as st

from edpc.ir import (
    DTYPE_BITS,
    Attribute,
    Contraction,
    Cost,
    Estimate,
    Graph,
    Group,
    Kernel,
    Location,
    ModelInfo,
    Operator,
    Refusal,
    Share,
    TensorType,
    Value,
    Work,
)

# Names a model may hold: ONNX paths, spaces, quotes, comments, control characters, other scripts, lone surrogates.
NAMES = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True),
    st.sampled_from(
        ["/encoder/layer.0/MatMul", "a//b", 'say "x"', "tab\there", "%s", "}", "a#1", "Größe", "\u2028", "", "\\n", "-1"]
    ),
    st.text(alphabet=st.characters(), max_size=6),
)
KINDS = st.sampled_from(["matmul", "add", "relu", "softmax", "layer_norm", "unknown", "reshape", "split"])
COUNTS = st.integers(0, 2**53)
POSITIVE = st.floats(0.0, 1e300, allow_nan=False, allow_infinity=False)
# `math.nan` is one object, so that values which hold it compare equal.
FLOATS = st.floats(allow_nan=False) | st.just(math.nan)
SCALARS: list[st.SearchStrategy[Attribute]] = [st.booleans(), st.integers(), FLOATS, st.text(max_size=8)]


def attribute_values() -> st.SearchStrategy[Attribute]:
    """Every kind of attribute: scalars of each type, and tuples of one type, empty ones and such of one element among them."""
    return st.one_of(*SCALARS, *(st.lists(scalar, max_size=3).map(tuple) for scalar in SCALARS))  # type: ignore[arg-type]


def attribute_tuples() -> st.SearchStrategy[tuple[tuple[str, Attribute], ...]]:
    """Attributes as an operator keeps them: sorted by name."""
    return st.dictionaries(NAMES, attribute_values(), max_size=3).map(lambda d: tuple(sorted(d.items())))


def tensor_types() -> st.SearchStrategy[TensorType]:
    """Any element type; shapes of rank 0 to 4 with unknown sizes, and unknown ranks."""
    size = st.none() | st.integers(0, 4096)
    shapes = st.none() | st.lists(size, max_size=4).map(tuple)
    return st.builds(TensorType, st.sampled_from(sorted(DTYPE_BITS)), shapes)


def costs() -> st.SearchStrategy[Cost]:
    """Finite, non-negative costs; nine different figures from three draws, which is what makes large graphs cheap to draw."""
    return st.tuples(POSITIVE, POSITIVE, POSITIVE).map(lambda t: Cost(*(x / d for d in (1, 3, 7) for x in t)))


def kernels(cost: st.SearchStrategy[Cost]) -> st.SearchStrategy[Kernel]:
    """Kernels of the given cost."""
    bounds = st.sampled_from(["compute", "memory", "overhead", "none"])
    notes = st.lists(st.text(max_size=8), max_size=2).map(tuple)
    return st.builds(Kernel, cost, bounds, st.floats(0.0, 1.0), st.integers(0, 9), st.integers(0, 9), notes)


@st.composite
def works(draw: st.DrawFn, operands: int, results: int) -> Work:
    """Work of an operator of so many operands and results; its contractions sum to its MACs."""
    contractions = tuple(draw(st.lists(st.builds(Contraction, *[st.integers(0, 512)] * 5), max_size=2)))
    return Work(
        macs=sum(c.macs for c in contractions),
        vector_ops=draw(COUNTS),
        transcendentals=draw(COUNTS),
        reads=tuple(draw(st.lists(COUNTS, min_size=operands, max_size=operands))),
        writes=tuple(draw(st.lists(COUNTS, min_size=results, max_size=results))),
        precision=draw(st.sampled_from(["fp32", "bf16", "int8"])),
        contractions=contractions,
        rows=draw(COUNTS),
        cols=draw(COUNTS),
        exact=draw(st.booleans()),
    )


def shares() -> st.SearchStrategy[Share]:
    """Shares, with and without a fusion benefit."""
    return st.builds(Share, POSITIVE, POSITIVE, POSITIVE, POSITIVE, st.none() | st.floats(-1e9, 1e9))


def model_infos() -> st.SearchStrategy[ModelInfo]:
    """Where a graph came from."""
    notes = st.lists(st.text(max_size=8), max_size=2).map(tuple)
    return st.builds(ModelInfo, st.sampled_from(["onnx", "edp"]), st.text(max_size=8), st.integers(1, 64), COUNTS, notes)


def estimates() -> st.SearchStrategy[Estimate]:
    """Estimates; intervals may be infinite, which the text form must keep."""
    interval = st.tuples(POSITIVE, POSITIVE | st.just(math.inf))
    text = st.text(max_size=8)
    notes = st.lists(text, max_size=2).map(tuple)
    return st.builds(Estimate, text, text, text, interval, interval, interval, st.floats(0.0, 1.0), notes)


@st.composite
def graphs(draw: st.DrawFn, max_operators: int = 8, facts: bool = True, names: st.SearchStrategy[str] = NAMES) -> Graph:
    """A graph that verifies: sources, operators that read any results before them, a return, and (if asked) every fact."""
    graph = Graph(draw(names), draw(st.just(ModelInfo()) | model_infos()))
    values: list[Value] = []
    total = draw(st.integers(0, max_operators))
    taken = draw(st.lists(names, min_size=total + 1, max_size=total + 1, unique=True))
    locations = st.none() | st.builds(Location, st.text(max_size=8), st.text(max_size=4), st.text(max_size=4))
    for name in taken[:-1]:
        is_source = draw(st.booleans()) if values else True
        operands = () if is_source else tuple(draw(st.lists(st.sampled_from(values), max_size=3)))
        results = 1 if is_source else draw(st.integers(0, 3))
        kind = draw(st.sampled_from(["input", "parameter", "constant"])) if is_source else draw(KINDS)
        op = Operator(
            kind,
            tuple(graph.type_of(v) for v in operands),
            tuple(draw(st.lists(tensor_types(), min_size=results, max_size=results))),
            draw(attribute_tuples()),
            draw(locations),
        )
        graph.add(name, op, operands)
        values += [Value(name, i) for i in range(results)]
    if draw(st.booleans()):
        operands = tuple(draw(st.lists(st.sampled_from(values), max_size=3))) if values else ()
        graph.add(taken[-1], Operator("return", tuple(graph.type_of(v) for v in operands)), operands)
    if facts and draw(st.booleans()):
        annotate(draw, graph)
    return graph


def annotate(draw: st.DrawFn, graph: Graph) -> None:
    """Gives a graph facts as passes would: work, groups of neighbours in execution order, costs that add up, shares."""
    compute = graph.compute_order()
    for name in compute:
        op = graph.op(name)
        graph.annotate(
            name,
            work=draw(works(len(op.inputs), len(op.outputs))),
            cost=draw(costs()),
            separate=draw(st.none() | kernels(costs())),
            share=draw(st.none() | shares()),
        )
    groups = []
    start = 0
    while start < len(compute):
        members = tuple(compute[start : start + draw(st.integers(1, 3))])
        start += len(members)
        total = sum((graph.op(m).cost or Cost() for m in members), Cost())
        group = Group(f"g{len(groups)}", draw(st.sampled_from(["separate", "gemm-epilogue"])), draw(KINDS), members)
        refusals = st.builds(Refusal, *[st.text(max_size=4)] * 4)
        groups.append(
            replace(
                group,
                refusals=tuple(draw(st.lists(refusals, max_size=2))),
                kernel=draw(st.none() | kernels(st.just(total))),
            )
        )
    graph.groups = groups
    graph.estimate = draw(st.none() | estimates())
