"""Layout: what moves no element, and the copies that follow from it.

In torch a permutation or a cut is a view, and whoever needs other strides copies later. Here, as in ONNX, the permutation and the
cut themselves are the copies (`transpose`, `slice`): every accelerator's compiler decides at that point whether to move data, to
fold it into an operand's layout or to index around it, and so do the targets. What would copy later is then free. A broadcast is
free until somebody needs it spelled out.
"""

from __future__ import annotations

from edpc.frontends.fx import options as o
from edpc.frontends.fx.program import Ref
from edpc.frontends.fx.site import Site
from edpc.frontends.onnx.expressions import is_free_permutation
from edpc.ir import TensorType, Value


def copied(site: Site) -> None:
    """`reshape`, `contiguous`, `clone`: free, but for a broadcast that is spelled out."""
    x = site.given("self", "input")[0]
    if _spelled_out(site):
        want = site.result_type()
        site.emit_results("expand", (x,)) if want.shape is not None else site.emit_results("identity", (x,))
        return
    same = site.type_of(x).shape == site.result_type().shape
    site.emit_results("identity" if same else "reshape", (x,))


def _spelled_out(site: Site) -> bool:
    """Whether the operand repeats elements by a stride of zero and the result does not."""
    argument = next((each for each in site.node.arguments.values() if isinstance(each, Ref)), None)
    result = site.node.results[0] if site.node.results else None
    if argument is None or result is None:
        return False
    return _repeats(site, argument.name) and not _repeats(site, result)


def _repeats(site: Site, name: str) -> bool:
    strides, shape = site.strides(name), site.scope.type(name).shape
    return strides is not None and shape is not None and any(s == 0 and d != 1 for s, d in zip(strides, shape, strict=False))


def expanded(site: Site) -> None:
    """A broadcast by strides."""
    x = site.tensor("self")
    same = site.type_of(x).shape == site.result_type().shape
    site.emit_results("identity" if same else "view_expand", (x,))


def permuted(site: Site) -> None:
    """Axes in another order: a copy unless no element moves."""
    x = site.tensor("self")
    shape = site.type_of(x).shape
    perm = _permutation(site, len(shape or ()))
    if perm == tuple(range(len(perm))) or is_free_permutation(shape, perm):
        site.emit_results("reshape", (x,))
    else:
        site.emit_results("transpose", (x,), perm=perm)


def _permutation(site: Site, rank: int) -> tuple[int, ...]:
    name = site.node.target.removeprefix("aten.").removesuffix("_")
    axes = list(range(rank))
    if name == "permute":
        return tuple(o.from_front(axis, rank) for axis in site.integers("dims") or ())
    if name in ("t", "numpy_T"):
        return tuple(reversed(axes))
    if name in ("movedim", "moveaxis"):
        source = [o.from_front(axis, rank) for axis in site.integers("source") or ()]
        target = [o.from_front(axis, rank) for axis in site.integers("destination") or ()]
        moved = [axis for axis in axes if axis not in source]
        for place, axis in sorted(zip(target, source, strict=True)):
            moved.insert(place, axis)
        return tuple(moved)
    first, second = -2, -1
    for one, two in (("dim0", "dim1"), ("axis0", "axis1")):
        if site.has(one):
            first, second = site.integer(one, 0), site.integer(two, 0)
    if rank > 1:
        first, second = first % rank, second % rank
        axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


def cut(site: Site) -> None:
    """A part along one axis; nothing where it is the whole."""
    x = site.tensor("self")
    have, want = site.type_of(x), site.result_type()
    if have.is_static and have.numel == want.numel:
        site.emit_results("identity" if have == want else "reshape", (x,))
    else:
        rank = max(len(have.shape or ()), 1)
        site.emit_results("slice", (x,), axes=(o.from_front(site.integer("dim", 0), rank),))


def unbound(site: Site) -> None:
    """The slices along one axis, each without it."""
    x = site.tensor("self")
    have = site.type_of(x)
    shape = have.shape or ()
    axis = o.from_front(site.integer("dim", 0), max(len(shape), 1))
    part = TensorType(have.dtype, (*shape[:axis], 1, *shape[axis + 1 :]))
    wanted = [result for result in range(len(site.node.results)) if site.wants(result)]
    if not wanted:
        return
    first = site.emit("split", (x,), [part] * len(wanted), "split", axis=axis)
    for number, result in enumerate(wanted):
        site.bind(result, site.emit("reshape", (Value(first.node, number),), (site.result_type(result),), f"part{result}"))


def stacked(site: Site) -> None:
    """Tensors joined along a new axis."""
    values = site.given("tensors")
    out = site.result_type()
    axis = o.from_front(site.integer("dim", 0), max(len(out.shape or ()), 1))
    shape = None if out.shape is None else (*out.shape[:axis], 1, *out.shape[axis + 1 :])
    parts = [
        site.emit("reshape", (value,), (TensorType(site.type_of(value).dtype, shape),), f"part{number}")
        for number, value in enumerate(values)
    ]
    site.emit_results("concat", parts, axis=axis)


def joined(site: Site) -> None:
    """Tensors joined along an axis; those without elements take no part, and what is left alone is not copied."""
    values = [value for value in site.given("tensors") if not _is_empty(site.type_of(value))]
    if len(values) == 1 and site.type_of(values[0]) == site.result_type():
        site.emit_results("identity", values)
    elif not values:
        site.emit_results("fill", ())
    else:
        axis = o.from_front(site.integer("dim", 0), max(len(site.type_of(values[0]).shape or ()), 1))
        site.emit_results("concat", values, axis=axis)


def _is_empty(found: TensorType) -> bool:
    return found.is_static and found.numel == 0
