"""Normalisations whose operands or kind depend on the call, and poolings to a given size."""

from __future__ import annotations

from edpc.frontends.fx import options as o
from edpc.frontends.fx.rows import Lowering
from edpc.frontends.fx.site import Site
from edpc.ir import TensorType


def batch_norm(site: Site) -> None:
    """Batch normalisation in any of its spellings; statistics that are not given are those of the batch."""
    site.emit_results("batch_norm", site.given("input", "weight", "bias", "running_mean", "running_var"), **o.batch_norm(site))


def instance_norm(site: Site) -> None:
    """Instance normalisation; with stored statistics it is a batch normalisation."""
    epsilon = float(site.known("eps", 1e-5) or 0.0)
    if site.flag("use_input_stats", True):
        site.emit_results("instance_norm", site.given("input", "weight", "bias"), epsilon=epsilon)
    else:
        batch_norm(site)


def rms_norm(site: Site) -> None:
    """Root-mean-square normalisation over the last axes."""
    site.emit_results("rms_norm", site.given("input", "weight"), **o.trailing_norm(site))


def adaptive(kind: str) -> Lowering:
    """A pooling to a given size: windows of ceil(in / out), and the whole plane where that size is one."""

    def lower(site: Site) -> None:
        x = site.tensor("self")
        before, after = site.type_of(x), site.result_type()
        spatial = int(next(c for c in site.node.target if c.isdigit()))
        sizes = list(zip(before.dims()[-spatial:], after.dims()[-spatial:], strict=False))
        if all(out == 1 for _, out in sizes) and not site.wants(1) and len(before.dims()) == spatial + 2:
            site.emit_results(f"global_{kind}", (x,))
            return
        if not site.has("output_size") and before == after:
            site.bind(0, x)
            return
        kernel = tuple(-(-size // max(out, 1)) for size, out in sizes)
        strides = tuple(max(size // max(out, 1), 1) for size, out in sizes)
        site.emit_results(kind, (x,), kernel_shape=kernel, strides=strides, pads=(0,) * (2 * spatial))

    return lower


def moment_type(site: Site, axes: tuple[int, ...], keep: bool) -> TensorType:
    """The type of the first operand reduced over these axes."""
    given = site.type("self")
    dims = given.shape or ()
    if keep:
        return TensorType(given.dtype, tuple(1 if axis in axes else size for axis, size in enumerate(dims)))
    return TensorType(given.dtype, tuple(size for axis, size in enumerate(dims) if axis not in axes))
