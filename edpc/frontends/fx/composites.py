"""Calls that are several elementwise operators or reductions."""

from __future__ import annotations

from edpc.frontends.fx import options as o
from edpc.frontends.fx.normalizations import moment_type
from edpc.frontends.fx.rows import Lowering
from edpc.frontends.fx.site import Site
from edpc.frontends.onnx.expressions import apply, combine, deliver, gather_rows, matmul, over, split
from edpc.ir import TensorType, Value


def scaled(kind: str) -> Lowering:
    """The sum or difference of self and alpha * other."""

    def lower(site: Site) -> None:
        a, b = site.tensor("self"), site.tensor("other")
        alpha = site.known("alpha", 1.0)
        if alpha not in (None, 1.0, 1):
            b = combine(site, "mul", b, site.number("alpha", alpha or 0.0, site.type_of(b).dtype), "scale")
        site.emit_results(kind, (a, b))

    return lower


def fused_product(kind: str) -> Lowering:
    """Adds value * (tensor1 op tensor2) to self."""

    def lower(site: Site) -> None:
        product = combine(site, kind, site.tensor("tensor1"), site.tensor("tensor2"), kind)
        value = site.known("value", 1.0)
        if value not in (None, 1.0, 1):
            product = combine(site, "mul", product, site.number("value", value or 0.0, site.result_type().dtype), "scale")
        site.emit_results("add", (site.tensor("self"), product))

    return lower


def lerp(site: Site) -> None:
    """Interpolates: self + weight * (end - self)."""
    start = site.tensor("self")
    difference = combine(site, "sub", site.tensor("end"), start, "difference")
    site.emit_results("add", (start, combine(site, "mul", difference, site.tensor("weight"), "weighted")))


def embedding_bag(site: Site) -> None:
    """Rows gathered, then summed (or averaged, or the largest) per bag."""
    table, indices = site.tensor("weight"), site.tensor("indices")
    rows = gather_rows(site, table, indices, "rows")
    kind = ("reduce_sum", "reduce_mean", "reduce_max")[site.integer("mode", 0) % 3]
    site.bind(0, site.emit(kind, (rows,), (site.result_type(),), "bags"))
    for result in range(1, len(site.node.results)):  # what the gradient needs
        if site.wants(result):
            site.bind(result, site.emit("fill", (), (site.result_type(result),), f"extra{result}"))


def fourier(inverse: bool = False, onesided: bool = False) -> Lowering:
    """A transform per axis, of numbers seen as real and imaginary parts; a real signal is one-sided along the last axis."""

    def lower(site: Site) -> None:
        x, out = site.tensor("self"), site.result_type()
        have = site.type_of(x)
        rank = len(have.shape or ())
        dtype = {"complex64": "fp32", "complex128": "fp64"}.get(have.dtype, have.dtype)
        every = {"2": (-2, -1), "n": tuple(range(rank))}.get(site.node.target[-1], (-1,))
        axes = [o.from_front(axis, rank) for axis in site.integers("dim") or every]
        parts = 2 if have.dtype != dtype else 1
        sizes = list(have.shape or ())
        x = site.emit("bit_cast", (x,), (TensorType(dtype, (*sizes, parts)),), "parts")
        # The one-sided axis goes first where the signal is real, last where the result is.
        half = axes[-1] if onesided else None
        for axis in axes if inverse else reversed(axes):
            sizes[axis] = (out.shape or sizes)[axis]
            kept = (*sizes, 1 if inverse and axis == half else 2)
            x = site.emit(
                "dft", (x,), (TensorType(dtype, kept),), f"axis{axis}", axis=axis, inverse=inverse, onesided=axis == half
            )
        site.emit_results("bit_cast", (x,))

    return lower


def glu(site: Site) -> None:
    """The first half times sigmoid of the second."""
    x = site.tensor("self")
    shape = site.type_of(x).shape or (None,)
    axis = o.from_front(site.integer("dim", -1), len(shape))
    first, second = split(site, x, (over(shape[axis], 2),) * 2, axis, "split")
    deliver(site, 0, combine(site, "mul", first, apply(site, "sigmoid", second, "sigmoid"), "gate"))


def pairwise_distance(site: Site) -> None:
    """Distances of all rows of x1 [.., P, M] from all of x2 [.., R, M] by |a|^2 + |b|^2 - 2 a b, as torch computes them."""
    a = site.tensor("x1") if site.has("x1") else site.tensor("self")
    b = site.tensor("x2") if site.has("x2") else a
    product = matmul(site, a, b, "product", transpose_b=True)
    squares = []
    for part, value in (("left", a), ("right", b)):
        kept = site.type_of(value)
        rows = TensorType(kept.dtype, None if kept.shape is None else (*kept.shape[:-1], 1))
        squares.append(
            site.emit("reduce_sum_square", (value,), (rows,), part, axes=(len(rows.shape or (1,)) - 1,), keepdims=True)
        )
    total = site.emit("sum_n", (product, *squares), (site.type_of(product),), "sum")
    if site.type_of(total) != site.result_type():  # pdist keeps one of each pair
        total = site.emit("slice", (total,), (site.result_type(),), "pairs")
    site.emit_results("sqrt", (total,))


def row_distance(site: Site) -> None:
    """The norm of the difference of each row."""
    difference = combine(site, "sub", site.tensor("x1"), site.tensor("x2"), "difference")
    axis = len(site.type_of(difference).shape or (1,)) - 1
    site.emit_results("reduce_l2", (difference,), axes=(axis,), keepdims=site.flag("keepdim"))


def cosine_similarity(site: Site) -> None:
    """The product of rows over the product of their norms."""
    a, b = site.tensor("x1"), site.tensor("x2")
    product = combine(site, "mul", a, b, "product")
    axis = o.from_front(site.integer("dim", 1), len(site.type_of(product).shape or (1,)))
    out = site.result_type()
    inner = site.emit("reduce_sum", (product,), (out,), "inner", axes=(axis,), keepdims=False)
    norms = [
        site.emit("reduce_l2", (value,), (out,), part, axes=(axis,), keepdims=False)
        for part, value in (("left", a), ("right", b))
    ]
    site.emit_results("div", (inner, combine(site, "mul", norms[0], norms[1], "norms")))


def variance(site: Site) -> None:
    """Mean, centring, mean of squares; the root for a standard deviation; `*_mean` answers the mean too."""
    x = site.tensor("self")
    options = o.reduction(site)
    axes, keep = tuple(int(axis) for axis in _tuple(options["axes"])), bool(options["keepdims"])
    mean = site.emit("reduce_mean", (x,), (moment_type(site, axes, True),), "mean", axes=axes, keepdims=True)
    centred = combine(site, "sub", x, mean, "centred")
    squares = site.emit("reduce_sum_square", (centred,), (site.result_type(),), "squares", axes=axes, keepdims=keep)
    count = site.number("count", max(site.type_of(x).numel // max(site.result_type().numel, 1) - 1, 1), site.result_type().dtype)
    root = site.node.target.startswith("aten.std")
    result: Value = combine(site, "div", squares, count, "variance")
    site.bind(0, apply(site, "sqrt", result, "root") if root else result)
    if site.wants(1):
        deliver(site, 1, mean)


def _tuple(value: object) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else ()
