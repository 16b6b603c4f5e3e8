"""From the arguments of an ATen call to attributes of the vocabulary.

Every function takes the site and answers the attributes by name; what does not follow from the program is left out.
"""

from __future__ import annotations

from collections.abc import Callable

from edpc.frontends.fx.site import Site
from edpc.ir import Attribute

Options = dict[str, Attribute]
Reader = Callable[[Site], Options]


def nothing(site: Site) -> Options:
    """No attributes."""
    return {}


def fixed(**values: Attribute) -> Reader:
    """A reader that answers the same whatever the call says."""
    return lambda site: dict(values)


def both(*readers: Reader) -> Reader:
    """A reader that answers what all of these do; later ones win."""
    return lambda site: {name: value for reader in readers for name, value in reader(site).items()}


def numbers(**names: tuple[str, float]) -> Reader:
    """A reader of numbers: attribute = (argument, default)."""

    def read(site: Site) -> Options:
        found = {name: site.known(argument, default) for name, (argument, default) in names.items()}
        return {name: value for name, value in found.items() if value is not None}

    return read


def word(attribute: str, argument: str, default: str) -> Reader:
    """A reader of a word."""
    return lambda site: {attribute: str(site.argument(argument, default))}


def rank_of(site: Site, operand: str = "self") -> int:
    """The number of axes of an operand; 1 for a scalar, so that axis 0 and -1 exist."""
    shape = site.type(operand).shape if site.is_tensor(operand) else None
    return max(len(shape or ()), 1)


def from_front(axis: int, rank: int) -> int:
    """The axis counted from the front."""
    return axis + rank if axis < 0 else axis


def axis(default: int | None = None, argument: str = "dim", operand: str = "self") -> Reader:
    """A reader of `axis`, counted from the front; without a default an absent one is left out."""

    def read(site: Site) -> Options:
        given = site.known(argument, default)
        return {} if given is None else {"axis": from_front(int(given), rank_of(site, operand))}

    return read


def reduction(site: Site) -> Options:
    """`axes` of a reduction, all where none are given, and whether they stay as axes of one."""
    rank = len(site.type("self").shape or ())
    axes = site.integers("dim")
    over = range(rank) if not axes else sorted({from_front(each, max(rank, 1)) for each in axes if rank})
    return {"axes": tuple(over), "keepdims": site.flag("keepdim")}


def convolution(site: Site) -> Options:
    """Strides, dilations, pads and groups of a convolution."""
    weight = site.type("weight")
    spatial = max(len(weight.shape or ()) - 2, 1)
    kernel = weight.dims()[2:]
    return {**_window(site, spatial, kernel), "groups": site.integer("groups", 1)}


def pooling(site: Site) -> Options:
    """Kernel shape, strides and pads of a pooling; a stride that is not given is the kernel."""
    given = site.integers("kernel_size") or (1,)
    spatial = max(_pooled_axes(site), len(given))
    kernel = _spread(given, spatial)
    return {"kernel_shape": kernel, **_window(site, spatial, kernel, kernel)}


def _pooled_axes(site: Site) -> int:
    digits = [c for c in site.node.target.removesuffix("_") if c.isdigit()]
    return int(digits[0]) if digits else 1


def _spread(value: tuple[int, ...], count: int) -> tuple[int, ...]:
    """One number per axis, where one for all may have been given."""
    return value * count if len(value) == 1 else value


def _window(site: Site, spatial: int, kernel: tuple[int, ...], stride: tuple[int, ...] = (1,)) -> Options:
    strides = _spread(site.integers("stride") or stride, spatial)
    dilations = _spread(site.integers("dilation") or (1,), spatial)
    if site.argument("padding") == "same":
        # Stride 1: as much in front as behind, one more behind where the total is odd.
        totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=False)]
        pads = (*(t // 2 for t in totals), *(t - t // 2 for t in totals))
    else:
        pads = _spread(site.integers("padding") or (0,), spatial) * 2
    return {"strides": strides, "dilations": dilations, "pads": pads}


def group_norm(site: Site) -> Options:
    """Epsilon and number of groups."""
    groups = site.integer("num_groups", site.integer("group", 1))
    return {"epsilon": float(site.known("eps", 1e-5) or 0.0), "groups": groups}


def trailing_norm(site: Site) -> Options:
    """Epsilon and the first normalised axis of a normalisation over the last axes."""
    shape = site.integers("normalized_shape") or (1,)
    return {"epsilon": float(site.known("eps", 1e-5) or 0.0), "axis": max(rank_of(site, "input") - len(shape), 0)}


def batch_norm(site: Site) -> Options:
    """Epsilon, channel axis and whether statistics are those of the batch."""
    options: Options = {"axis": 1, "epsilon": float(site.known("eps", 1e-5) or 0.0)}
    training = site.flag("training") or site.flag("train") or not (site.has("running_mean") and site.has("running_var"))
    return {**options, "training_mode": True} if training else options


def exponent(site: Site) -> Options:
    """`exponent` of a power where it is one known number."""
    value = None if site.is_tensor("exponent") else site.known("exponent")
    if value is None:
        return {}
    return {"exponent": int(value) if float(value).is_integer() else float(value)}


def in_place(site: Site) -> Options:
    """Whether a scatter writes into its operand's memory rather than into a copy."""
    return {"in_place": True} if site.in_place else {}


def addition(site: Site) -> Options:
    """The factors of `addmm` and its kin where they are not one."""
    found = {name: site.known(name, 1.0) for name in ("alpha", "beta")}
    return {name: float(value) for name, value in found.items() if value is not None and value != 1.0}
