"""ATen operators that become one operator each: reductions, normalisations, poolings, gathers, copies, views."""

from __future__ import annotations

from edpc.frontends.fx import options as o
from edpc.frontends.fx.rows import Chain, Lowering, Row

X = ("self",)
ROW_OF_INPUT = ("input", "weight", "bias")

REDUCTIONS: dict[str, Lowering] = {
    "all": Row("reduce_min", X, o.reduction),
    "amax": Row("reduce_max", X, o.reduction),
    "amin": Row("reduce_min", X, o.reduction),
    "any": Row("reduce_max", X, o.reduction),
    "argmax": Row("argmax", X, o.reduction),
    "argmin": Row("argmin", X, o.reduction),
    "count_nonzero": Row("reduce_sum", X, o.reduction),
    "cummax": Row("cumsum", X, o.axis(0)),
    "cummin": Row("cumsum", X, o.axis(0)),
    "cumprod": Row("cumprod", X, o.axis(0)),
    "cumsum": Row("cumsum", X, o.axis(0)),
    "logcumsumexp": Chain(("exp", "cumsum", "log")),
    "logsumexp": Row("reduce_log_sum_exp", X, o.reduction),
    "mean": Row("reduce_mean", X, o.reduction),
    "nansum": Row("reduce_sum", X, o.reduction),
    "prod": Row("reduce_prod", X, o.reduction),
    "sum": Row("reduce_sum", X, o.reduction),
}

NORMALIZATIONS: dict[str, Lowering] = {
    "_log_softmax": Row("log_softmax", X, o.axis(-1)),
    "_safe_softmax": Row("softmax", X, o.axis(-1)),
    "_softmax": Row("softmax", X, o.axis(-1)),
    "_weight_norm": Chain(("lp_norm", "mul"), ("v", "g")),
    "group_norm": Row("group_norm", ROW_OF_INPUT, o.group_norm),
    "layer_norm": Row("layer_norm", ROW_OF_INPUT, o.trailing_norm),
    "log_softmax": Row("log_softmax", X, o.axis(-1)),
    "native_group_norm": Row("group_norm", ROW_OF_INPUT, o.group_norm),
    "native_layer_norm": Row("layer_norm", ROW_OF_INPUT, o.trailing_norm),
    "softmax": Row("softmax", X, o.axis(-1)),
    "special_softmax": Row("softmax", X, o.axis(-1)),
    # Gradients cost about what their forward operator does, twice over; training is not what this compiler is for.
    "native_group_norm_backward": Row("group_norm", ("input", "grad_out"), o.group_norm),
    "native_layer_norm_backward": Row("layer_norm", ("input", "grad_out"), o.trailing_norm),
}

POOLINGS: dict[str, Lowering] = {
    **{f"avg_pool{n}d": Row("average_pool", X, o.pooling) for n in (1, 2, 3)},
    **{f"max_pool{n}d": Row("max_pool", X, o.pooling) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": Row("max_pool", X, o.pooling) for n in (1, 2, 3)},
    **{f"max_unpool{n}d": Row("max_unpool", ("self", "indices")) for n in (2, 3)},
    "_adaptive_avg_pool2d_backward": Row("resize", ("grad_output",)),
    "avg_pool2d_backward": Row("average_pool", ("grad_output",), o.pooling),
    "fractional_max_pool2d": Row("max_pool", X, o.pooling),
    "max_pool2d_with_indices_backward": Row("max_unpool", ("grad_output", "indices")),
}

GATHERS: dict[str, Lowering] = {
    "embedding": Row("gather", ("weight", "indices"), o.fixed(axis=0)),
    "embedding_dense_backward": Row(
        "scatter_nd", ("grad_output", "indices", "grad_output"), o.fixed(reduction="add", in_place=True)
    ),
    "gather": Row("gather_elements", ("self", "index"), o.axis(0)),
    "histc": Row("scatter_elements", ("self", "self", "self"), o.fixed(reduction="add")),
    "index_add": Row("scatter_elements", ("self", "index", "source"), o.both(o.axis(0), o.fixed(reduction="add"), o.in_place)),
    "index_copy": Row("scatter_elements", ("self", "index", "source"), o.both(o.axis(0), o.in_place)),
    "index_fill": Row("scatter_elements", ("self", "index", "value"), o.both(o.axis(0), o.in_place)),
    "index_select": Row("gather", ("self", "index"), o.axis(0)),
    "masked_scatter": Row("scatter_elements", ("self", "mask", "source"), o.in_place),
    "masked_select": Row("compress", ("self", "mask")),
    "scatter": Row("scatter_elements", ("self", "index", "src", "value"), o.both(o.axis(0), o.in_place)),
    "scatter_add": Row("scatter_elements", ("self", "index", "src"), o.both(o.axis(0), o.fixed(reduction="add"), o.in_place)),
    "scatter_reduce": Row("scatter_elements", ("self", "index", "src"), o.both(o.axis(0), o.fixed(reduction="add"), o.in_place)),
    # A part is written into a copy of the whole.
    "diagonal_scatter": Row("tensor_scatter", ("self", "src"), o.fixed(in_place=False)),
    "select_scatter": Row("tensor_scatter", ("self", "src"), o.both(o.axis(0), o.fixed(in_place=False))),
    "slice_scatter": Row("tensor_scatter", ("self", "src"), o.both(o.axis(0), o.fixed(in_place=False))),
    "take": Row("gather_elements", ("self", "index")),
    "take_along_dim": Row("gather_elements", ("self", "indices"), o.axis(0)),
}

MOVEMENTS: dict[str, Lowering] = {
    **{name: Row("pad", X) for name in ("_pad_circular", "constant_pad_nd", "pad")},
    **{f"reflection_pad{n}d": Row("pad", X, o.fixed(mode="reflect")) for n in (1, 2, 3)},
    **{f"replication_pad{n}d": Row("pad", X, o.fixed(mode="edge")) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": Row("resize", X, o.fixed(mode="nearest")) for n in (1, 2, 3)},
    "_upsample_bicubic2d_aa": Row("resize", ("self", "input"), o.fixed(mode="cubic", antialias=True)),
    "_upsample_bilinear2d_aa": Row("resize", ("self", "input"), o.fixed(mode="linear", antialias=True)),
    "upsample_bicubic2d": Row("resize", ("self", "input"), o.fixed(mode="cubic")),
    "upsample_bilinear2d": Row("resize", ("self", "input"), o.fixed(mode="linear")),
    "upsample_linear1d": Row("resize", ("self", "input"), o.fixed(mode="linear")),
    "upsample_trilinear3d": Row("resize", ("self", "input"), o.fixed(mode="linear")),
    **{f"upsample_nearest{n}d": Row("resize", ("self", "input"), o.fixed(mode="nearest")) for n in (1, 2, 3)},
    "affine_grid_generator": Row("affine_grid", ("theta",)),
    "argsort": Row("sort", X, o.axis(-1)),
    "bernoulli": Row("bernoulli", X),
    "bucketize": Row("bucketize", ("self", "boundaries")),
    "channel_shuffle": Row("transpose", X),
    "col2im": Row("col2im", X),
    "diag_embed": Row("pad", X),
    "fill": Row("fill", ()),
    "flip": Row("slice", X),
    "grid_sampler": Row("grid_sample", ("input", "grid")),
    "grid_sampler_2d": Row("grid_sample", ("input", "grid")),
    "grid_sampler_3d": Row("grid_sample", ("input", "grid")),
    "im2col": Row("tile", X),
    "kthvalue": Row("top_k", X, o.axis(-1)),
    "median": Row("sort", X, o.axis(-1)),
    "meshgrid": Row("expand", ("tensors",)),
    "mode": Row("sort", X, o.axis(-1)),
    "msort": Row("sort", X, o.fixed(axis=0)),
    "multinomial": Row("multinomial", X),
    "nonzero": Row("nonzero", X),
    "nonzero_static": Row("nonzero", X),
    "normal": Row("random", (), o.fixed(distribution="normal")),
    "one_hot": Row("one_hot", X),
    "pixel_shuffle": Row("depth_to_space", X),
    "pixel_unshuffle": Row("space_to_depth", X),
    "rand": Row("random", ()),
    "rand_like": Row("random", ()),
    "randint": Row("random", ()),
    "randint_like": Row("random", ()),
    "randn": Row("random", (), o.fixed(distribution="normal")),
    "randn_like": Row("random", (), o.fixed(distribution="normal")),
    "randperm": Row("random", ()),
    "repeat": Row("tile", X),
    "repeat_interleave": Row("tile", X),
    "roll": Row("slice", X),
    "searchsorted": Row("bucketize", ("self", "sorted_sequence")),
    "sort": Row("sort", X, o.axis(-1)),
    "split": Row("split", X, o.axis(0)),
    "split_with_sizes": Row("split", X, o.axis(0)),
    "chunk": Row("split", X, o.axis(0)),
    "tensor_split": Row("split", X, o.axis(0)),
    "unsafe_chunk": Row("split", X, o.axis(0)),
    "unsafe_split": Row("split", X, o.axis(0)),
    "tile": Row("tile", X),
    "topk": Row("top_k", X, o.axis(-1)),
    "tril": Row("trilu", X, o.fixed(upper=0)),
    "triu": Row("trilu", X, o.fixed(upper=1)),
    "unfold": Row("tile", X),
    "uniform": Row("random", ()),
    "_unique2": Row("unique", X),
    "unique_consecutive": Row("unique", X),
    "zero": Row("fill", ()),
}

# Results that share their operand's memory: the same tensor, and the same elements under another shape.
_SAME = (
    "alias detach detach_ lift lift_fresh lift_fresh_copy item _local_scalar_dense positive real requires_grad resolve_conj "
    "resolve_neg"
)
_RESHAPED = (
    "_reshape_alias as_strided atleast_1d atleast_2d atleast_3d diagonal squeeze squeeze_ unflatten unsqueeze unsqueeze_ view "
    "view_as view_as_complex view_as_real"
)

VIEWS: dict[str, Lowering] = {
    **{name: Row("identity", X) for name in _SAME.split()},
    **{name: Row("reshape", X) for name in _RESHAPED.split()},
    "_conj": Row("identity", X),
    "_neg_view": Row("identity", X),
}

OTHERS: dict[str, Lowering] = {
    "cross_entropy_loss": Row("softmax_cross_entropy_loss", ("self", "target", "weight")),
    "dequantize": Row("dequantize", X),
    "linalg_det": Row("det", ("A",)),
    "linalg_inv": Row("inverse", ("A",)),
    "inverse": Row("inverse", X),
    "nll_loss": Row("nll_loss", ("self", "target", "weight")),
    "nll_loss_forward": Row("nll_loss", ("self", "target", "weight")),
    "nll_loss2d_forward": Row("nll_loss", ("self", "target", "weight")),
    "nll_loss_nd": Row("nll_loss", ("self", "target", "weight")),
    "stft": Row("stft", ("self", "window"), o.numbers(frame_length=("n_fft", 1))),
}

PLAIN: dict[str, Lowering] = {**REDUCTIONS, **NORMALIZATIONS, **POOLINGS, **GATHERS, **MOVEMENTS, **VIEWS, **OTHERS}
