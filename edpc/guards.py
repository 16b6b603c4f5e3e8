"""Named conditions on a candidate for fusion, shared by all targets: each answers None, or the reason for a refusal.

A target says `Guard("row-fits", "vmem")`; nothing of a target's own runs on a graph. A guard on the anchor of a rule sees a
candidate that reads nothing of the region yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edpc.errors import UsageError
from edpc.fusion.region import MOST_STRANGERS, Candidate
from edpc.ir import DTYPE_BITS
from edpc.operators import CONTRACTION, ELEMENTWISE, MATMUL
from edpc.target import Guard, Rule, Target

Argument = int | str | None
Test = Callable[[Candidate, Argument], str | None]

INT8 = frozenset({"int8", "uint8"})


def _listed(names: Iterable[str]) -> str:
    """`%a`, `%a and %b`, `%a, %b and %c`."""
    words = [f"%{name}" for name in names]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def single_use(candidate: Candidate, argument: Argument) -> str | None:
    """Nobody outside reads what the candidate reads of the group, so no intermediate need be written out."""
    strangers = candidate.strangers()
    if not strangers:
        return None
    region = candidate.region
    value = next(p for p in candidate.producers() if region.strangers([p], candidate))
    others = "" if len(strangers) < MOST_STRANGERS else " (and more)"
    return (
        f"%{region.net.names[value]} is read by {_listed(dict.fromkeys((candidate.name, *strangers)))}{others}, "
        "so its value must be written out"
    )


def same_shape(candidate: Candidate, argument: Argument) -> str | None:
    """The candidate computes one element for each element it reads of the group."""
    out = candidate.op.outputs[0]
    for seen in candidate.read_types():
        if seen.shape != out.shape:
            return f"%{candidate.name} makes {out} of {seen}"
    return None


def vector_bias(candidate: Candidate, argument: Argument) -> str | None:
    """What the candidate adds is a parameter vector along one axis, which the kernel keeps at hand."""
    joined = {read.slot for read in candidate.reads}
    for slot, operand in enumerate(candidate.op.inputs):
        if not candidate.reads or slot in joined:
            continue
        if candidate.source_kind(slot) not in ("parameter", "constant"):
            return f"operand {slot} of %{candidate.name} is computed, not a parameter"
        if sum(d != 1 for d in operand.dims()) > 1:
            return f"operand {slot} of %{candidate.name} is {operand}, not a vector"
    return None


def scalar_factor(candidate: Candidate, argument: Argument) -> str | None:
    """What an elementwise candidate combines a tensor with are single numbers, computed or not."""
    op = candidate.op
    wide = [slot for slot, kind in enumerate(op.inputs) if not (kind.is_static and kind.numel <= 1)]
    if op.kind in ELEMENTWISE and len(wide) > 1:
        return f"operand {wide[-1]} of %{candidate.name} is {op.inputs[wide[-1]]}, not a single number"
    return None


def row_fits(candidate: Candidate, argument: Argument) -> str | None:
    """A whole row of a row-wise operator fits the named memory (one tile's part where the target states it)."""
    work = candidate.op.work
    if work is None or not work.cols or not candidate.op.inputs:
        return None
    target = candidate.target
    tile = target.parameters.get(f"{argument}.tile_capacity")
    capacity = (tile or next(memory.capacity for memory in target.memories if memory.name == argument)).value
    row = work.cols * DTYPE_BITS[candidate.op.inputs[0].dtype] / 8
    if row > capacity:
        return f"a row of %{candidate.name} is {row:.0f} B and {argument} holds {capacity:.0f} B"
    return None


def head_dim_at_most(candidate: Candidate, argument: Argument) -> str | None:
    """Heads of attention are narrow enough: what QK^T contracts over and what AV makes per head."""
    op = candidate.op
    if op.kind not in MATMUL or op.work is None or not op.work.contractions:
        return None
    space = op.work.contractions[0]
    dim = space.n if candidate.reads else space.k
    return f"the head dimension of %{candidate.name} is {dim}, more than {argument}" if dim > int(argument or 0) else None


def static_shape(candidate: Candidate, argument: Argument) -> str | None:
    """All results have known shapes."""
    unknown = next((t for t in candidate.op.outputs if not t.is_static), None)
    return None if unknown is None else f"%{candidate.name} makes {unknown}, whose size is not known"


def operands_at_most(candidate: Candidate, argument: Argument) -> str | None:
    """The fused kernel reads no more than so many tensors from outside."""
    region = candidate.region
    net = region.net
    new = {
        value
        for value in net.operands[candidate.position]
        if value[0] not in region.members and not net.clear[value[0]] and net.ops[value[0]].kind != "constant"
    }
    count = len(region.outside | new)
    return (
        f"with %{candidate.name} the kernel would read {count} tensors, more than {argument}"
        if count > int(argument or 0)
        else None
    )


def no_second_contraction(candidate: Candidate, argument: Argument) -> str | None:
    """The group has one contraction at most."""
    if candidate.reads and candidate.op.kind in CONTRACTION and candidate.region.kinds & CONTRACTION:
        return f"%{candidate.name} is a second contraction"
    return None


def int8_operands(candidate: Candidate, argument: Argument) -> str | None:
    """A contraction multiplies 8-bit integers."""
    op = candidate.op
    if op.kind not in CONTRACTION or op.attribute("compute_precision") == "int8":
        return None
    wide = next((t for t in op.inputs[:2] if t.dtype not in INT8), None)
    return None if wide is None else f"%{candidate.name} multiplies {wide.dtype}, not int8"


GUARDS: dict[str, Test] = {
    "single-use": single_use,
    "same-shape": same_shape,
    "vector-bias": vector_bias,
    "scalar-factor": scalar_factor,
    "row-fits": row_fits,
    "head-dim-at-most": head_dim_at_most,
    "static-shape": static_shape,
    "operands-at-most": operands_at_most,
    "no-second-contraction": no_second_contraction,
    "int8-operands": int8_operands,
}
# Guards that look at who else reads a value: asked again once the rule has grown.
ABOUT_READERS = frozenset({"single-use"})
WITH_NUMBER = frozenset({"head-dim-at-most", "operands-at-most"})


def check(rules: Iterable[Rule], target: Target) -> None:
    """Refuses rules whose guards cannot be asked.

    Raises:
        UsageError: an unknown guard, or an argument it cannot take; names the rule and the target.
    """
    memories = {memory.name for memory in target.memories}
    for rule in rules:
        for guard in (*rule.guards, *(g for stage in rule.stages for g in stage.guards)):
            where = f"target {target.name}, rule {rule.name}"
            if guard.name not in GUARDS:
                raise UsageError(f"{where}: there is no guard {guard.name!r}; there are {', '.join(GUARDS)}")
            if guard.name == "row-fits" and guard.argument not in memories:
                raise UsageError(f"{where}: guard row-fits needs one of the memories {', '.join(sorted(memories))}")
            if guard.name in WITH_NUMBER and not isinstance(guard.argument, int):
                raise UsageError(f"{where}: guard {guard.name} needs a number")


def refusal(guards: Iterable[Guard], candidate: Candidate) -> tuple[str, str] | None:
    """The first guard that refuses the candidate and its reason, or None."""
    for guard in guards:
        reason = GUARDS[guard.name](candidate, guard.argument)
        if reason is not None:
            return guard.name, reason
    return None
