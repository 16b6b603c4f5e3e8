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
from edpc.strides import dense, is_matrix_stack, viewed
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


def matrix_strides(candidate: Candidate, argument: Argument) -> str | None:
    """What a transpose does to an operand or the result of a product can be told the product's library as strides.

    A library's batched product knows one step between matrices and needs one axis of step one in each.
    """
    net, op = candidate.region.net, candidate.op
    perm = op.attribute("perm")
    if op.kind != "transpose" or not isinstance(perm, tuple) or not op.inputs[0].is_static:
        return None
    here = dict(zip(map(int, perm), dense(op.outputs[0].dims()), strict=True))  # the step of each axis, as the result lies
    for read in candidate.reads:
        if read.consumer == candidate.position:
            producer = net.operands[read.path[0] if read.path else candidate.position][0][0]
            product, seen = net.ops[producer], net.ops[producer].outputs[0]
            lies = viewed(op.inputs[0].dims(), [here[axis] for axis in range(len(perm))], seen.dims())
        else:
            product, seen = net.ops[read.consumer], net.ops[read.consumer].inputs[read.slot]
            steps = dense(op.inputs[0].dims())
            lies = viewed(op.outputs[0].dims(), [steps[int(axis)] for axis in perm], seen.dims())
        if product.kind in MATMUL and len(seen.dims()) > 1 and (lies is None or not is_matrix_stack(seen.dims(), lies)):
            return f"%{candidate.name} leaves {seen} with more than one step between matrices, so it is copied"
    return None


def plain_epilogue(candidate: Candidate, argument: Argument) -> str | None:
    """Products of operands wider than 16 bits are the vendor's own kernels: they add one tensor, rectify and do nothing else."""
    region, op = candidate.region, candidate.op
    product = region.net.ops[region.anchor]
    if max(DTYPE_BITS[t.dtype] for t in product.inputs[:2]) <= 16 or op.kind in ("relu", "split"):
        return None
    batched = product.work is not None and any(space.batch > 1 for space in product.work.contractions)
    adds = op.kind == "bias" or (op.kind == "add" and not batched)
    if adds and len(product.inputs) == 2 and not region.kinds & {"bias", "add"}:
        return None
    return (
        f"%{candidate.name} is more than the library's {product.inputs[0].dtype} products do as they store: add a tensor, rectify"
    )


def one_call(candidate: Candidate, argument: Argument) -> str | None:
    """The operators come from one call of the model, which is one kernel of the framework."""
    first, here = candidate.region.net.ops[candidate.region.anchor].location, candidate.op.location
    if first is not None and here is not None and (first.source_name == here.source_name or "" != first.call == here.call):
        return None
    return f"%{candidate.name} is a call of its own"


def bits_at_most(candidate: Candidate, argument: Argument) -> str | None:
    """No operand has wider elements than so many bits."""
    wide = next((t for t in candidate.op.inputs if DTYPE_BITS[t.dtype] > int(argument or 0)), None)
    return None if wide is None else f"%{candidate.name} reads {wide}, wider than {argument} bits"


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
    "matrix-strides": matrix_strides,
    "plain-epilogue": plain_epilogue,
    "one-call": one_call,
    "bits-at-most": bits_at_most,
}
# Guards that look at who else reads a value: asked again once the rule has grown.
ABOUT_READERS = frozenset({"single-use"})
WITH_NUMBER = frozenset({"head-dim-at-most", "operands-at-most", "bits-at-most"})


def check(rules: Iterable[Rule], target: Target) -> None:
    """Refuses rules whose guards cannot be asked.

    Raises:
        UsageError: an unknown guard, or an argument it cannot take; names the rule and the target.
    """
    memories = {memory.name for memory in target.memories}
    for rule in rules:
        for guard in (*rule.guards, *rule.prologue_guards, *(g for stage in rule.stages for g in stage.guards)):
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
