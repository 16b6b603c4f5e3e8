"""The one table from an ATen operator, without its overload, to its lowering."""

from __future__ import annotations

from edpc.frontends.fx import attention, composites, contractions, control_flow, normalizations, recurrent, selections, views
from edpc.frontends.fx.rows import Filled, Lowering, ignored
from edpc.frontends.fx.table_elementwise import ELEMENTWISE
from edpc.frontends.fx.table_plain import PLAIN

# Operators that become several operators, or one of several kinds.
EXPANDED: dict[str, Lowering] = {
    "_fused_rms_norm": normalizations.rms_norm,
    "_scaled_dot_product_cudnn_attention": attention.attention,
    "_scaled_dot_product_efficient_attention": attention.attention,
    "_scaled_dot_product_flash_attention": attention.attention,
    "_scaled_dot_product_flash_attention_for_cpu": attention.attention,
    "_scaled_dot_product_fused_attention_overrideable": attention.attention,
    "scaled_dot_product_attention": attention.attention,
    "_native_batch_norm_legit": normalizations.batch_norm,
    "_native_batch_norm_legit_functional": normalizations.batch_norm,
    "_native_batch_norm_legit_no_training": normalizations.batch_norm,
    "batch_norm": normalizations.batch_norm,
    "cudnn_batch_norm": normalizations.batch_norm,
    "native_batch_norm": normalizations.batch_norm,
    "instance_norm": normalizations.instance_norm,
    "rms_norm": normalizations.rms_norm,
    "adaptive_avg_pool1d": normalizations.adaptive("average_pool"),
    "adaptive_avg_pool2d": normalizations.adaptive("average_pool"),
    "adaptive_avg_pool3d": normalizations.adaptive("average_pool"),
    "_adaptive_avg_pool2d": normalizations.adaptive("average_pool"),
    "_adaptive_avg_pool3d": normalizations.adaptive("average_pool"),
    "adaptive_max_pool1d": normalizations.adaptive("max_pool"),
    "adaptive_max_pool2d": normalizations.adaptive("max_pool"),
    "adaptive_max_pool3d": normalizations.adaptive("max_pool"),
    "add": composites.scaled("add"),
    "sub": composites.scaled("sub"),
    "rsub": composites.scaled("sub"),
    "addcmul": composites.fused_product("mul"),
    "addcdiv": composites.fused_product("div"),
    "lerp": composites.lerp,
    **{f"fft_fft{n}": composites.fourier() for n in ("", "2", "n")},
    **{f"fft_ifft{n}": composites.fourier(inverse=True) for n in ("", "2", "n")},
    **{f"fft_irfft{n}": composites.fourier(inverse=True, onesided=True) for n in ("", "2", "n")},
    **{f"fft_rfft{n}": composites.fourier(onesided=True) for n in ("", "2", "n")},
    "_fft_c2c": composites.fourier(),
    "_fft_c2r": composites.fourier(inverse=True, onesided=True),
    "_fft_r2c": composites.fourier(onesided=True),
    "_embedding_bag": composites.embedding_bag,
    "_embedding_bag_forward_only": composites.embedding_bag,
    "embedding_bag": composites.embedding_bag,
    "glu": composites.glu,
    "cdist": composites.pairwise_distance,
    "_cdist_forward": composites.pairwise_distance,
    "_euclidean_dist": composites.pairwise_distance,
    "_pdist_forward": composites.pairwise_distance,
    "pdist": composites.pairwise_distance,
    "pairwise_distance": composites.row_distance,
    "cosine_similarity": composites.cosine_similarity,
    "var": composites.variance,
    "std": composites.variance,
    "var_mean": composites.variance,
    "std_mean": composites.variance,
    "max": selections.extreme("max", "reduce_max"),
    "min": selections.extreme("min", "reduce_min"),
    "aminmax": selections.both_extremes,
    "norm": selections.norm,
    "linalg_vector_norm": selections.norm,
    "clamp": selections.clamp,
    "clip": selections.clamp,
    "div": selections.division,
    "divide": selections.division,
    "where": selections.where,
    "dropout": selections.dropout,
    "feature_dropout": selections.dropout,
    "alpha_dropout": selections.dropout,
    "native_dropout": selections.dropout,
    "index": selections.index,
    "_unsafe_index": selections.index,
    "index_put": selections.index_put,
    "_unsafe_index_put": selections.index_put,
    "_index_put_impl": selections.index_put,
    "copy": selections.copy,
    "copy_": selections.copy,
    "_to_copy": selections.convert,
    "to": selections.convert,
    "type_as": selections.convert,
    "clone": views.copied,
    "contiguous": views.copied,
    "reshape": views.copied,
    "reshape_as": views.copied,
    "flatten": views.copied,
    "_reshape_copy": views.copied,
    "_unsafe_view": views.copied,
    "expand": views.expanded,
    "expand_as": views.expanded,
    "broadcast_to": views.expanded,
    "transpose": views.permuted,
    "permute": views.permuted,
    "t": views.permuted,
    "numpy_T": views.permuted,
    "mT": views.permuted,
    "adjoint": views.permuted,
    "movedim": views.permuted,
    "moveaxis": views.permuted,
    "swapaxes": views.permuted,
    "swapdims": views.permuted,
    "select": views.cut,
    "slice": views.cut,
    "narrow": views.cut,
    "unbind": views.unbound,
    "stack": views.stacked,
    "cat": views.joined,
    "concat": views.joined,
    "lstm": recurrent.lstm,
    "gru": recurrent.gru,
    "rnn_tanh": recurrent.rnn,
    "rnn_relu": recurrent.rnn,
    "lstm_cell": recurrent.cell("lstm"),
    "gru_cell": recurrent.cell("gru"),
    "rnn_tanh_cell": recurrent.cell("rnn"),
    "rnn_relu_cell": recurrent.cell("rnn"),
    "convolution_backward": contractions.convolution_backward,
    "einsum": contractions.einsum,
    "tensordot": contractions.tensordot,
    "bilinear": contractions.bilinear,
}

_FILLS = (
    "empty empty_like empty_permuted empty_strided full full_like new_empty new_empty_strided new_full new_ones new_zeros "
    "resize_ ones ones_like scalar_tensor zeros zeros_like eye tril_indices triu_indices"
)
# What checks its operands, or asks for a size: nothing happens on the machine.
_CHECKS = (
    "_assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async _functional_assert_scalar _print "
    "sym_constrain_range sym_constrain_range_for_size sym_is_contiguous sym_numel sym_size sym_storage_offset sym_stride"
)

_FILL: dict[str, Lowering] = {name: Filled("fill", {}) for name in _FILLS.split()}
_RANGE: dict[str, Lowering] = {name: Filled("range", {}) for name in ("arange", "linspace", "logspace", "range")}
_WINDOW: dict[str, Lowering] = {
    f"{name}_window": Filled("window_function", {"window": name})
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser")
}

_IGNORED: dict[str, Lowering] = dict.fromkeys(_CHECKS.split(), ignored)

ATEN: dict[str, Lowering] = {**ELEMENTWISE, **PLAIN, **contractions.TABLE, **EXPANDED, **_FILL, **_RANGE, **_WINDOW, **_IGNORED}

HIGHER_ORDER: dict[str, Lowering] = {
    "cond": control_flow.branch,
    "map": control_flow.mapped,
    "map_impl": control_flow.mapped,
    "scan": control_flow.scan,
    "while_loop": control_flow.loop,
    "wrap_with_autocast": control_flow.wrapped,
    "wrap_with_set_grad_enabled": control_flow.wrapped,
    "checkpoint": control_flow.wrapped,
    "tag_activation_checkpoint": control_flow.wrapped,
    "wrap": control_flow.wrapped,
    "invoke_subgraph": control_flow.wrapped,
    "flex_attention": attention.flex_attention,
}

TABLE: dict[str, Lowering] = {
    **{f"aten.{name}": lowering for name, lowering in ATEN.items()},
    **{f"higher_order.{name}": lowering for name, lowering in HIGHER_ORDER.items()},
    # What transformers calls where torch has no grouped product for the device.
    "transformers.grouped_mm_fallback": contractions.grouped("input", "weight"),
}
