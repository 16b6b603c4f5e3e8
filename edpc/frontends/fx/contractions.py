"""Matrix products and convolutions."""

from __future__ import annotations

from edpc.frontends.fx import options as o
from edpc.frontends.fx.rows import Lowering, Row
from edpc.frontends.fx.site import Site
from edpc.frontends.onnx.expressions import combine, transpose
from edpc.ir import TensorType


def convolution(site: Site) -> None:
    """`convolution`, which may be transposed."""
    kind = "conv_transpose" if site.flag("transposed") else "conv"
    site.emit_results(kind, site.given("input", "weight", "bias"), **o.convolution(site))


def product_and_sum(a: str, b: str) -> Lowering:
    """The product times alpha plus beta * self; with a beta of zero self is not read."""

    def lower(site: Site) -> None:
        operands = site.given(a, b)
        options = o.addition(site)
        if options.get("beta") == 0.0:
            del options["beta"]
        else:
            operands += site.given("self")
        site.emit_results("matmul", operands, **options)

    return lower


def einsum(site: Site) -> None:
    """`einsum` of a list of tensors."""
    site.emit_results("einsum", site.given("tensors"), equation=str(site.argument("equation", "")))


def tensordot(site: Site) -> None:
    """A product summed over given axes of both operands."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    ranks = [len(site.type(name).shape or ()) for name in ("self", "other")]
    left = list(letters[: ranks[0]])
    right = list(letters[ranks[0] : sum(ranks)])
    summed = set()
    for one, two in zip(site.integers("dims_self") or (), site.integers("dims_other") or (), strict=True):
        right[two] = left[one]
        summed.add(left[one])
    free = [letter for letter in left + right if letter not in summed]
    equation = f"{''.join(left)},{''.join(right)}->{''.join(free)}"
    site.emit_results("einsum", site.given("self", "other"), equation=equation)


def bilinear(site: Site) -> None:
    """x1 W x2 with a matrix W per output, and a bias."""
    x1, x2, weight = (site.tensor(name) for name in ("input1", "input2", "weight"))
    out = site.result_type()
    product = site.emit("einsum", (x1, weight, x2), (out,), "product", equation="...i,oij,...j->...o")
    site.bind(0, combine(site, "add", product, site.tensor("bias"), "bias") if site.has("bias") else product)


def grouped(a: str, b: str) -> Lowering:
    """Rows [T, K] sorted by expert times one matrix per expert [E, K, N]; with as many stacks as matrices, plain products."""

    def lower(site: Site) -> None:
        operands = site.given(a, b, "bias")
        ranks = [len(site.type_of(value).shape or ()) for value in operands[:2]]
        if ranks == [2, 3]:
            site.emit_results("expert_matmul", operands, addend=len(operands) > 2)
        else:
            site.emit_results("matmul", operands)

    return lower


def convolution_backward(site: Site) -> None:
    """The gradients of a convolution: each is a convolution again, that of the bias a sum."""
    grad, x, weight = (site.tensor(name) for name in ("grad_output", "input", "weight"))
    options = o.convolution(site)
    if site.wants(0):
        kind = "conv" if site.flag("transposed") else "conv_transpose"
        site.bind(0, site.emit(kind, (grad, weight), (site.result_type(0),), "input", **options))
    if site.wants(1):
        # The images are what is summed over: [C, N, ...] by [F, N, ...] gives [C/groups, F, kernel].
        swap = (1, 0, *range(2, len(site.type_of(x).shape or (1, 1))))
        shape = site.result_type(1).shape or (None, None)
        swapped = TensorType(site.result_type(1).dtype, (shape[1], shape[0], *shape[2:]))
        made = site.emit("conv", (transpose(site, x, swap, "images"), transpose(site, grad, swap, "grads")), (swapped,), "weight")
        site.bind(1, transpose(site, made, swap, "filters"))
    if site.wants(2):
        rank = len(site.type_of(grad).shape or (1, 1))
        axes = tuple(axis for axis in range(rank) if axis != 1)
        site.bind(2, site.emit("reduce_sum", (grad,), (site.result_type(2),), "bias", axes=axes, keepdims=False))


_CONV = ("input", "weight", "bias")

TABLE: dict[str, Lowering] = {
    **{f"conv{n}d": Row("conv", _CONV, o.convolution) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": Row("conv_transpose", _CONV, o.convolution) for n in (1, 2, 3)},
    "_convolution": convolution,
    "convolution": convolution,
    "mkldnn_convolution": Row("conv", ("self", "weight", "bias"), o.convolution),
    "_int_mm": Row("matmul", ("self", "mat2")),
    "_scaled_mm": Row("matmul", ("self", "mat2", "scale_a", "scale_b"), o.fixed(addend=False)),
    "_grouped_mm": grouped("self", "mat2"),
    "addbmm": product_and_sum("batch1", "batch2"),
    "addmm": product_and_sum("mat1", "mat2"),
    "addmv": product_and_sum("mat", "vec"),
    "baddbmm": product_and_sum("batch1", "batch2"),
    "bmm": Row("matmul", ("self", "mat2")),
    "dot": Row("matmul", ("self", "tensor")),
    "ger": Row("mul", ("self", "vec2")),
    "inner": Row("matmul", ("self", "other"), o.fixed(transpose_b=True)),
    "linear": Row("matmul", _CONV, o.fixed(transpose_b=True)),
    "matmul": Row("matmul", ("self", "other")),
    "mm": Row("matmul", ("self", "mat2")),
    "mv": Row("matmul", ("self", "vec")),
    "outer": Row("mul", ("self", "vec2")),
    "vdot": Row("matmul", ("self", "other")),
}
