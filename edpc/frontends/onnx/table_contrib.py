"""Operators of `com.microsoft` and of its blocked layout `com.microsoft.nchwc`: one line each."""

from __future__ import annotations

from edpc.frontends.onnx import attention_contrib as attention
from edpc.frontends.onnx import composites as c
from edpc.frontends.onnx import experts
from edpc.frontends.onnx import options as o
from edpc.frontends.onnx import quantized as q
from edpc.frontends.onnx.linear_attention import linear_attention
from edpc.frontends.onnx.rotary import rotary_embedding
from edpc.frontends.onnx.rows import Lowering, Row

CONTRIB: dict[str, Lowering] = {
    # attention
    "Attention": attention.attention,
    "DecoderMaskedMultiHeadAttention": attention.decoder_multi_head_attention,
    "DecoderMaskedSelfAttention": attention.attention,
    "GroupQueryAttention": attention.group_query_attention,
    "LinearAttention": linear_attention,
    "MultiHeadAttention": attention.multi_head_attention,
    "RotaryEmbedding": rotary_embedding,
    # normalisation
    "EmbedLayerNormalization": c.embed_layer_norm,
    "GroupNorm": c.group_norm,
    "SimplifiedLayerNormalization": c.simplified_layer_norm,
    "SkipGroupNorm": c.group_norm,
    "SkipLayerNormalization": c.skip_layer_norm,
    "SkipSimplifiedLayerNormalization": c.skip_rms_norm,
    # elementwise
    "BiasAdd": c.bias_add,
    "BiasDropout": c.bias_dropout,
    "BiasGelu": c.bias_gelu,
    "BiasSoftmax": c.bias_softmax,
    "BiasSplitGelu": c.bias_split_gelu,
    "FastGelu": c.fast_gelu,
    "Gelu": Row("gelu"),
    "IsAllFinite": Row("is_inf"),
    "QuickGelu": Row("quick_gelu", None, o.keep(alpha=1.702)),
    "SwiGLU": Row("swiglu"),
    # contractions
    "FusedConv": c.fused_conv,
    "FusedGemm": c.fused_gemm,
    "FusedMatMul": c.fused_matmul,
    "FusedMatMulActivation": c.fused_matmul,
    "GemmFastGelu": c.gemm_fast_gelu,
    "GemmFloat8": c.fused_gemm,
    "MoE": experts.moe,
    "SparseToDenseMatMul": c.fused_matmul,
    "TransposeMatMul": c.fused_matmul,
    # quantised
    "DequantizeLinear": Row("dequantize"),
    "DynamicQuantizeLSTM": q.dynamic_lstm,
    "DynamicQuantizeMatMul": q.dynamic_matmul,
    "GatherBlockQuantized": q.gather_block_quantized,
    "MatMulBnb4": q.matmul_n_bits,
    "MatMulInteger16": Row("matmul"),
    "MatMulIntegerToFloat": q.contraction("matmul", (0, 1), 6, range(2, 6)),
    "MatMulNBits": q.matmul_n_bits,
    "MulInteger": q.elementwise("mul", (0, 2)),
    "QAttention": attention.quantised_attention,
    "QGemm": q.contraction("matmul", (0, 3), 6, (1, 2, 4, 5, 7, 8), o.gemm),
    "QLinearAdd": q.elementwise("add", (0, 3)),
    "QLinearAveragePool": q.elementwise("average_pool", (0,), o.pooling),
    "QLinearConcat": q.concat,
    "QLinearConv": q.contraction("conv", (0, 3), 8, (1, 2, 4, 5, 6, 7), o.quantised_convolution),
    "QLinearGlobalAveragePool": q.global_average_pool,
    "QLinearLeakyRelu": q.elementwise("leaky_relu", (0,)),
    "QLinearMul": q.elementwise("mul", (0, 3)),
    "QLinearReduceMean": q.elementwise("reduce_mean", (0,), o.reduction_attribute),
    "QLinearSigmoid": q.elementwise("sigmoid", (0,)),
    "QLinearSoftmax": q.elementwise("softmax", (0,), o.axis(-1)),
    "QLinearWhere": q.elementwise("where", (0, 1, 4)),
    "QMoE": experts.quantised_moe,
    "QuantizeLinear": Row("quantize"),
    "ReduceSumInteger": Row("reduce_sum", None, o.reduction_attribute),
    # movement
    "CropAndResize": Row("roi_align", (0, 1)),
    "ExpandDims": Row("reshape", (0,)),
    "GatherND": Row("gather_nd"),
    "GridSample": Row("grid_sample", None, o.keep(mode="linear")),
    "NhwcConv": c.fused_conv,
    "NhwcFusedConv": c.fused_conv,
    "NhwcMaxPool": Row("max_pool", None, o.pooling),
    "Pad": Row("pad", (0,), o.keep(mode="constant")),
    "Range": Row("range"),
    "TorchEmbedding": Row("gather", (0, 1), o.fixed(axis=0)),
    "Trilu": Row("trilu", (0,), o.keep(upper=1)),
    "Unique": Row("unique"),
}

# Channels are blocked by 8 or 16 in memory; the shapes that the model states are still [N, C, H, W].
NCHWC: dict[str, Lowering] = {
    "AveragePool": Row("average_pool", None, o.pooling),
    "Conv": c.fused_conv,
    "GlobalAveragePool": Row("global_average_pool"),
    "GlobalMaxPool": Row("global_max_pool"),
    "MaxPool": Row("max_pool", None, o.pooling),
    "ReorderInput": Row("transpose"),
    "ReorderOutput": Row("transpose"),
    "Upsample": Row("resize", None, o.keep(mode="nearest")),
}
