"""From an ONNX node's attributes (or the operands that took their place in later opsets) to those of the vocabulary.

Every function takes the site and answers the attributes by name; what does not follow from the graph is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edpc.frontends.onnx.site import Site
from edpc.ir import Attribute

Options = dict[str, Attribute]
Reader = Callable[[Site], Options]


def nothing(site: Site) -> Options:
    """No attributes."""
    return {}


def keep(**defaults: Attribute | None) -> Reader:
    """A reader of attributes that keep their name; None leaves an absent one out."""

    def read(site: Site) -> Options:
        found = {name: site.attributes.get(name, default) for name, default in defaults.items()}
        return {name: value for name, value in found.items() if value is not None}

    return read


def fixed(**values: Attribute) -> Reader:
    """A reader that answers the same whatever the node says."""
    return lambda site: dict(values)


def both(*readers: Reader) -> Reader:
    """A reader that answers what all of these do; later ones win."""
    return lambda site: {name: value for reader in readers for name, value in reader(site).items()}


def from_front(axis: int, rank: int | None) -> int:
    """The axis counted from the front, where the rank is known."""
    return axis + rank if axis < 0 and rank is not None else axis


def rank_of(site: Site, slot: int = 0) -> int | None:
    """The rank of an operand, where it is known."""
    if not site.has(slot):
        return None
    shape = site.type(slot).shape
    return None if shape is None else len(shape)


def axis(default: int, slot: int = 0) -> Reader:
    """A reader of `axis`, counted from the front of the operand in that slot."""
    return lambda site: {"axis": from_front(int(site.attributes.get("axis", default)), rank_of(site, slot))}


def softmax_axis(site: Site) -> Options:
    """The axis of a softmax; before opset 13 all axes from `axis` (default 1) on form one row."""
    rank = rank_of(site)
    if site.version >= 13:
        return {"axis": from_front(int(site.attributes.get("axis", -1)), rank)}
    first = from_front(int(site.attributes.get("axis", 1)), rank)
    return {"axis": first} if rank is None or first == rank - 1 else {"axes": tuple(range(first, rank))}


def axis_operand(slot: int) -> Reader:
    """A reader of an axis that is given as an operand."""

    def read(site: Site) -> Options:
        known = site.integer(slot)
        return {} if known is None else {"axis": from_front(known, rank_of(site))}

    return read


def reduction(site: Site) -> Options:
    """`axes` of a reduction, from the attribute or the second operand; without either all, or none if the node says so."""
    options: Options = {"keepdims": bool(site.attributes.get("keepdims", 1))}
    axes = site.attributes.get("axes")
    if axes is None and site.has(1):
        axes = site.integers(1)
        if axes is None:
            return options
    rank = rank_of(site)
    if axes:
        options["axes"] = tuple(sorted(from_front(a, rank) for a in axes))
    elif site.attributes.get("noop_with_empty_axes", 0):
        options |= {"axes": (), "noop_with_empty_axes": True}
    elif rank is not None:
        options["axes"] = tuple(range(rank))
    return options


def axes(site: Site) -> Options:
    """`axes` from the attribute, counted from the front."""
    given = site.attributes.get("axes")
    return {} if given is None else {"axes": tuple(from_front(a, rank_of(site)) for a in given)}


def arg_reduction(site: Site) -> Options:
    """`axes` of argmax and argmin."""
    place = from_front(int(site.attributes.get("axis", 0)), rank_of(site))
    return {"axes": (place,), "keepdims": bool(site.attributes.get("keepdims", 1))}


def gemm(site: Site) -> Options:
    """Transposes of Gemm, and its factors where they are not one."""
    return {
        "transpose_a": bool(site.attributes.get("transA", 0)),
        "transpose_b": bool(site.attributes.get("transB", 0)),
        **factors(site),
    }


def factors(site: Site) -> Options:
    """`alpha` and `beta` where they are not one."""
    return {name: site.attributes[name] for name in ("alpha", "beta") if site.attributes.get(name, 1.0) != 1.0}


def convolution(site: Site) -> Options:
    """Strides, dilations, pads (`auto_pad` resolved) and groups of a convolution."""
    return {**window(site, rank_of(site, 1), _kernel(site, 1)), "groups": int(site.attributes.get("group", 1))}


def quantised_convolution(site: Site) -> Options:
    """The same of QLinearConv, whose weight stands in slot 3."""
    return {**window(site, rank_of(site, 3), _kernel(site, 3)), "groups": int(site.attributes.get("group", 1))}


def pooling(site: Site) -> Options:
    """Kernel shape, strides and pads of a pooling operator."""
    kernel = site.attributes.get("kernel_shape")
    options = window(site, rank_of(site), kernel)
    return options if kernel is None else {"kernel_shape": tuple(kernel), **options}


def window(site: Site, rank: int | None, kernel: tuple[int, ...] | None) -> Options:
    """Strides, dilations and pads of a window that slides over the spatial axes."""
    given = site.attributes
    spatial = len(kernel) if kernel is not None else rank - 2 if rank is not None else None
    options: Options = {}
    for name in ("strides", "dilations"):
        value = given.get(name) or (None if spatial is None else (1,) * spatial)
        if value is not None:
            options[name] = tuple(value)
    pads = _pads(site, kernel, spatial)
    if pads is not None:
        options["pads"] = pads
    return options


def _kernel(site: Site, slot: int) -> tuple[int, ...] | None:
    given = site.attributes.get("kernel_shape")
    if given:
        return tuple(given)
    shape = site.type(slot).shape if site.has(slot) else None
    known = tuple(d for d in shape[2:] if d is not None) if shape is not None else None
    return known if known is not None and shape is not None and len(known) == len(shape) - 2 else None


def _pads(site: Site, kernel: tuple[int, ...] | None, spatial: int | None) -> tuple[int, ...] | None:
    """Explicit pads (begins, then ends), or those that SAME_UPPER and SAME_LOWER come to: out = ceil(in / stride)."""
    given: dict[str, Any] = site.attributes
    mode = given.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "") or spatial is None:
        value = given.get("pads")
        return tuple(value) if value else (None if spatial is None else (0,) * (2 * spatial))
    if mode == "VALID":
        return (0,) * (2 * spatial)
    shape = site.type(0).shape
    strides = given.get("strides") or (1,) * spatial
    dilations = given.get("dilations") or (1,) * spatial
    if shape is None or kernel is None or None in shape[2:] or 0 in strides:
        return None
    before, after = [], []
    for size, k, stride, dilation in zip(shape[2:], kernel, strides, dilations, strict=False):
        assert size is not None
        total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        before.append(small if mode == "SAME_UPPER" else large)
        after.append(large if mode == "SAME_UPPER" else small)
    return (*before, *after)


def recurrent(site: Site) -> Options:
    """Hidden size, directions and layout of LSTM, GRU and RNN."""
    directions = 2 if site.attributes.get("direction", "forward") == "bidirectional" else 1
    options: Options = {"directions": directions, "layout": int(site.attributes.get("layout", 0))}
    hidden = site.attributes.get("hidden_size")
    if hidden is None and site.has(2) and (shape := site.type(2).shape):
        hidden = shape[-1]
    if hidden is not None:
        options["hidden_size"] = int(hidden)
    if site.attributes.get("linear_before_reset", 0):
        options["linear_before_reset"] = True
    return options


def bounds(site: Site) -> Options:
    """`min` and `max` of Clip where they are attributes or known scalars."""
    options: Options = {}
    for slot, name in ((1, "min"), (2, "max")):
        value = site.attributes.get(name)
        known = site.constant(slot)
        if value is None and known is not None and known.size == 1:
            value = known.reshape(-1)[0].item()
        if value is not None:
            options[name] = value
    return options


def batch_norm(site: Site) -> Options:
    """Epsilon, channel axis and whether statistics are those of the batch."""
    options: Options = {"axis": 1, "epsilon": float(site.attributes.get("epsilon", 1e-5))}
    return {**options, "training_mode": True} if site.attributes.get("training_mode", 0) else options


def group_norm(site: Site) -> Options:
    """Epsilon and number of groups."""
    given = site.attributes
    return {"epsilon": float(given.get("epsilon", 1e-5)), "groups": int(given.get("num_groups", given.get("groups", 1)))}


def exponent(site: Site) -> Options:
    """`exponent` of Pow where it is one known number."""
    known = site.constant(1)
    if known is None or known.size != 1:
        return {}
    value = known.reshape(-1)[0].item()
    return {"exponent": int(value) if float(value).is_integer() else float(value)}


def reduction_attribute(site: Site) -> Options:
    """`axes` of a reduction that only has the attribute; its second operand is something else."""
    options: Options = {"keepdims": bool(site.attributes.get("keepdims", 1))}
    rank = rank_of(site)
    axes = site.attributes.get("axes") or (None if rank is None else range(rank))
    return options if axes is None else {**options, "axes": tuple(sorted(from_front(a, rank) for a in axes))}


def count(name: str, *lists: str) -> Reader:
    """A reader of the length of whichever of these list attributes is given."""

    def read(site: Site) -> Options:
        lengths = [len(site.attributes[given]) for given in lists if site.attributes.get(given)]
        return {name: lengths[0]} if lengths else {}

    return read


def support_vectors(site: Site) -> Options:
    """Number of support vectors of an SVM; a linear one has one per class, in its coefficients."""
    per_class = site.attributes.get("vectors_per_class")
    total = sum(per_class) if per_class else int(site.attributes.get("n_supports", 0))
    return {"support_vectors": total} if total > 0 else {}


def trees(site: Site) -> Options:
    """Number of trees of an ensemble, and their depth as if they were balanced: log2 of the nodes per tree, rounded up."""
    given = site.attributes
    ids = given.get("nodes_treeids")
    roots = given.get("tree_roots")
    number = len(roots) if roots else len(set(ids or (0,)))
    nodes = len(given.get("nodes_featureids") or (0,))
    per_tree = -(-nodes // max(number, 1))
    return {"trees": number, "depth": max(per_tree.bit_length(), 1)}


def fourier(site: Site) -> Options:
    """Axis, length and form of DFT; before opset 20 the axis is an attribute."""
    given = site.attributes
    place = site.integer(2) if site.has(2) else int(given.get("axis", -2 if site.version >= 20 else 1))
    options: Options = {"inverse": bool(given.get("inverse", 0)), "onesided": bool(given.get("onesided", 0))}
    if place is not None:
        options["axis"] = from_front(place, rank_of(site))
    length = site.integer(1)
    return options if length is None else {**options, "length": length}


def short_fourier(site: Site) -> Options:
    """Length and form of STFT's frames."""
    options: Options = {"onesided": bool(site.attributes.get("onesided", 1))}
    length = site.integer(3)
    return options if length is None else {**options, "frame_length": length}


def suppression(site: Site) -> Options:
    """How many boxes NonMaxSuppression keeps at most."""
    most = site.integer(2)
    return {} if most is None else {"max_output": most}


def grams(site: Site) -> Options:
    """Longest n-gram and skip of TfIdfVectorizer."""
    return {
        "max_gram_length": int(site.attributes.get("max_gram_length", 1)),
        "max_skip": int(site.attributes.get("max_skip_count", 0)),
    }
