"""Calls whose kind depends on the arguments they are given."""

from __future__ import annotations

from edpc.frontends.fx import options as o
from edpc.frontends.fx.program import Ref
from edpc.frontends.fx.rows import Lowering
from edpc.frontends.fx.site import Site
from edpc.ir import Attribute


def extreme(kind: str, reduced: str) -> Lowering:
    """The larger (smaller) of two tensors, or of all elements, or along an axis with its place."""

    def lower(site: Site) -> None:
        if site.has("other"):
            site.emit_results(kind, site.given("self", "other"))
            return
        x, options = site.tensor("self"), o.reduction(site)
        site.bind(0, site.emit(reduced, (x,), (site.result_type(),), "", **options))
        if site.wants(1):
            site.bind(1, site.emit(f"arg{kind}", (x,), (site.result_type(1),), "place", **options))

    return lower


def both_extremes(site: Site) -> None:
    """Minimum and maximum."""
    x, options = site.tensor("self"), o.reduction(site)
    for result, kind in enumerate(("reduce_min", "reduce_max")):
        if site.wants(result):
            site.bind(result, site.emit(kind, (x,), (site.result_type(result),), kind, **options))


def norm(site: Site) -> None:
    """A vector norm: the sum of magnitudes, the root of the sum of squares, or the largest magnitude."""
    order = site.known("ord", site.known("p", 2.0))
    x, options = site.tensor("self"), o.reduction(site)
    if order is not None and abs(order) == float("inf"):
        x = site.emit("abs", (x,), (site.type_of(x),), "abs")
        site.emit_results("reduce_max" if order > 0 else "reduce_min", (x,), **options)
    else:
        site.emit_results("reduce_l1" if order == 1 else "reduce_l2", (x,), **options)


def clamp(site: Site) -> None:
    """Both bounds, one of them, as numbers or as tensors."""
    if site.is_tensor("min") or site.is_tensor("max"):
        site.emit_results("clip", site.given("self", "min", "max"))
        return
    bounds = {name: site.known(name) for name in ("min", "max")}
    site.emit_results("clip", (site.tensor("self"),), **{name: value for name, value in bounds.items() if value is not None})


def division(site: Site) -> None:
    """A quotient, rounded where the call says so."""
    operands = site.given("self", "other")
    if not site.has("rounding_mode"):
        site.emit_results("div", operands)
        return
    quotient = site.emit("div", operands, (site.result_type(),), "quotient")
    site.emit_results("floor", (quotient,))


def where(site: Site) -> None:
    """A choice; with a condition alone, the places where it holds."""
    if site.has("self"):
        site.emit_results("where", site.given("condition", "self", "other"))
    else:
        site.emit_results("nonzero", site.given("condition"))


def dropout(site: Site) -> None:
    """Nothing at inference."""
    x = site.given("input", "self")[0]
    if site.flag("train"):
        site.emit_results("dropout", (x,), training=True)
        return
    site.bind(0, site.emit("identity", (x,), (site.result_type(),)))
    if site.wants(1):
        site.bind(1, site.emit("fill", (), (site.result_type(1),), "mask"))


def index(site: Site) -> None:
    """Elements by index tensors: rows along one axis, single elements or blocks otherwise, those chosen by a mask."""
    x = site.tensor("self")
    indices = site.argument("indices", [])
    given = [(axis, each) for axis, each in enumerate(indices) if isinstance(each, Ref)]
    values = [site.scope.value(each.name) for _, each in given]
    if any(site.type_of(value).dtype in ("bool", "uint8") for value in values):
        site.emit_results("compress", (x, *values))
    elif len(values) == 1:
        site.emit_results("gather", (x, *values), axis=given[0][0])
    else:
        site.emit_results("gather_nd", (x, *values))


def index_put(site: Site) -> None:
    """Elements written by index tensors, into a copy or in place."""
    options: dict[str, Attribute] = {"in_place": True} if site.in_place else {}
    if site.flag("accumulate"):
        options["reduction"] = "add"
    first, *others = site.given("indices") or [site.tensor("values")]
    site.emit_results("scatter_nd", (site.tensor("self"), first, site.tensor("values"), *others), **options)


def copy(site: Site) -> None:
    """The second operand written over the first: over a part of its base where it is a view, which the walk does."""
    source = site.tensor("src")
    have, want = site.type_of(source), site.result_type()
    if have.dtype != want.dtype:
        source = site.emit("cast", (source,), (type(want)(want.dtype, have.shape),), "cast")
    target = site.node.arguments.get("self")
    base = site.scope.bases.get(target.name) if isinstance(target, Ref) else None
    if base is not None and site.scope.type(base).numel != want.numel:
        site.bind(0, source)
    else:
        site.emit_results("tensor_scatter", (site.tensor("self"), source))


def convert(site: Site) -> None:
    """Another element type, or nothing where it stays."""
    x = site.tensor("self")
    same = site.type_of(x).dtype == site.result_type().dtype
    site.emit_results("identity" if same else "cast", (x,))
