"""Matrix products: `matmul`, `einsum` and the grouped product of a mixture of experts, as iteration spaces.

Beside the multiply-accumulates a product counts, per element of its result: one addition for an addend, one multiplication
for `alpha` other than 1, and what quantised operands ask for. Integer accumulators are rescaled: one multiplication to a
floating result, five operations (scale, zero point, round, two clips) to an integer of at most 8 bits, none to int32.
A narrow integer weight under a floating activation is dequantised once: two operations per weight (zero point, scale).
"""

from __future__ import annotations

from math import prod

from edpc.errors import ModelError
from edpc.ir import Contraction, Operator, TensorType, Work
from edpc.operators.counting import agreed, counted, elements_in_bytes, flag, is_float, is_narrow_integer, number, positive
from edpc.operators.kind import Family, OperatorKind

Dims = tuple[int | None, ...]


def rescaling(a: TensorType, b: TensorType, result: TensorType) -> int:
    """Vector operations that the formats of a product's operands and result ask for (see the module's first lines)."""
    if is_float(a) and is_narrow_integer(b):
        return 2 * b.numel
    if is_narrow_integer(a) and is_narrow_integer(b):
        per_element = 1 if is_float(result) else 5 if is_narrow_integer(result) else 0
        return per_element * result.numel
    return 0


def _matrix_dims(t: TensorType, transposed: bool, column: bool) -> Dims:
    """The shape as a stack of matrices: a vector becomes a column or a row, and the last two axes swap if transposed."""
    shape = t.shape or (None, None)
    if len(shape) == 1:
        return (shape[0], 1) if column else (1, shape[0])
    return (*shape[:-2], shape[-1], shape[-2]) if transposed else shape


def product_space(op: Operator) -> Contraction:
    """The iteration space of numpy's matmul of the first two operands.

    Leading axes broadcast to the batch. The innermost of them along which b does not change fold into m, unless a is stored
    transposed: a [B, S, K] by a weight [K, N] is one product of [B*S, K] by [K, N], and query heads that share a key head
    are rows of one product.
    """
    transpose_a = flag(op, "transpose_a")
    a = _matrix_dims(op.inputs[0], transpose_a, column=False)
    b = _matrix_dims(op.inputs[1], flag(op, "transpose_b"), column=True)
    rank = max(len(a), len(b)) - 2
    lead_a: Dims = (1,) * (rank + 2 - len(a)) + a[:-2]
    lead_b: Dims = (1,) * (rank + 2 - len(b)) + b[:-2]
    m = agreed(a[-2])
    n = agreed(b[-1])
    k = agreed(a[-1], b[-2])
    folding = not transpose_a
    batch = 1
    for size_a, size_b in reversed(list(zip(lead_a, lead_b, strict=True))):
        size = agreed(size_b if size_a == 1 else size_a)
        if folding and size_b == 1:
            m *= size
        else:
            folding = folding and size == 1
            batch *= size
    return Contraction(batch, m, n, k)


def _matmul(op: Operator) -> Work:
    a, b = op.inputs[:2]
    result = op.outputs[0]
    vector = rescaling(a, b, result)
    if flag(op, "addend", len(op.inputs) > 2):
        vector += result.numel
        if number(op, "beta", 1.0) != 1.0:
            vector += op.inputs[2].numel if len(op.inputs) > 2 else result.numel
    if number(op, "alpha", 1.0) != 1.0:
        vector += result.numel
    return counted(op, vector_ops=vector, contractions=(product_space(op),), arithmetic=(a, b))


def _expert_matmul(op: Operator) -> Work:
    """Tokens go to `top_k` experts each, spread evenly; experts that no token reaches are not read."""
    a, b = op.inputs[:2]
    experts, n, k = (*b.dims(), 1, 1, 1)[:3]
    if not flag(op, "transpose_b"):
        n, k = k, n
    rows = a.numel // max(k, 1) * positive(op, "top_k", 1)
    active = min(experts, rows)
    # Rows that do not divide evenly leave some experts with one more; the sum of both spaces is exact.
    share, more = divmod(rows, active) if active else (0, 0)
    spaces = tuple(c for c in (Contraction(more, share + 1, n, k), Contraction(active - more, share, n, k)) if c.batch)
    vector = rescaling(a, b, op.outputs[0])
    if flag(op, "addend", len(op.inputs) > 2):
        vector += rows * n
    return counted(
        op,
        vector_ops=vector,
        contractions=spaces,
        touched={1: elements_in_bytes(active * n * k, b)},
        arithmetic=(a, b),
    )


def _subscripts(op: Operator) -> tuple[list[str], str]:
    """Operand and result subscripts with the ellipsis spelled out in capital letters beyond those in use.

    Raises:
        ModelError: there is no equation, or it does not fit the operands.
    """
    equation = op.attribute("equation", "")
    if not isinstance(equation, str) or not equation.strip():
        raise ModelError(f"{op.kind}: attribute equation must be an einsum equation, not {equation!r}")
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(op.inputs):
        raise ModelError(f"{op.kind}: equation {equation!r} has {len(terms)} terms for {len(op.inputs)} operands")
    spare = [chr(code) for code in range(0x100, 0x140)]
    hidden = 0
    named = []
    for term, t in zip(terms, op.inputs, strict=True):
        plain = term.replace("...", "")
        rank = len(plain) if t.shape is None else len(t.shape)
        extra = rank - len(plain)
        if extra < 0 or (extra and plain == term) or extra > len(spare):
            raise ModelError(f"{op.kind}: term {term!r} of equation {equation!r} does not fit {t}")
        hidden = max(hidden, extra)
        named.append(term.replace("...", "".join(reversed(spare[:extra]))))
    ellipsis = "".join(reversed(spare[:hidden]))
    if arrow:
        return named, right.replace("...", ellipsis)
    everything = "".join(named)
    free = sorted(c for c in set(everything) - set(ellipsis) if everything.count(c) == 1)
    return named, ellipsis + "".join(free)


def _einsum(op: Operator) -> Work:
    """Operands are taken up from left to right, and an index is summed as soon as nothing to its right needs it.

    Two operands: indices of both that survive are batch, indices of both that are summed are k, the rest m and n. An index of
    one operand alone that is summed is added up beforehand. A product in which nothing is summed is multiplications,
    not multiply-accumulates.
    """
    terms, result = _subscripts(op)
    sizes: dict[str, int] = {}
    for term, t in zip(terms, op.inputs, strict=True):
        for index, size in zip(term, t.dims(), strict=False):
            sizes[index] = size if sizes.get(index, 1) == 1 else sizes[index]

    def volume(indices: set[str]) -> int:
        return prod(sizes.get(i, 1) for i in indices)

    def added(before: set[str], after: set[str]) -> int:
        return max(volume(before) - volume(after), 0)

    vector = 0
    spaces: list[Contraction] = []
    held, *rest = map(set, terms)
    while rest:
        other = rest.pop(0)
        needed = set(result).union(*rest)
        kept, kept_other = held & (needed | other), other & (needed | held)
        vector += added(held, kept) + added(other, kept_other)
        shared = kept & kept_other
        k = shared - needed
        if k:
            spaces.append(Contraction(volume(shared & needed), volume(kept - shared), volume(kept_other - shared), volume(k)))
        held = (kept | kept_other) - k
        if not k:
            vector += volume(held)
    vector += added(held, held & set(result))
    return counted(op, vector_ops=vector, contractions=tuple(spaces))


DEFINITIONS: tuple[OperatorKind, ...] = (
    OperatorKind(
        "matmul",
        Family.MATMUL,
        _matmul,
        "a, b [, addend, scales, zero points]; transpose_a, transpose_b, addend (slot 2 is one; default: if present), alpha, "
        "beta: numpy's matmul, batch * m * n * k multiply-accumulates, 1 addition per element of the result for the addend.",
        2,
    ),
    OperatorKind(
        "einsum",
        Family.MATMUL,
        _einsum,
        "operands by term; equation: contracted pairwise from the left, k being the indices summed over two operands; "
        "other sums are additions and other products multiplications.",
    ),
    OperatorKind(
        "expert_matmul",
        Family.MATMUL,
        _expert_matmul,
        "a [tokens, K], b [experts, K, N] [, addend]; top_k, transpose_b, addend: every token by top_k experts, spread evenly; "
        "only the experts reached are read.",
        2,
    ),
)
