"""The one table from (domain, operator) to its lowering."""

from __future__ import annotations

from edpc.frontends.onnx import attention_standard, composites, control_flow, quantized
from edpc.frontends.onnx import options as o
from edpc.frontends.onnx.linear_attention import linear_attention
from edpc.frontends.onnx.rotary import rotary_embedding
from edpc.frontends.onnx.rows import Lowering, Row
from edpc.frontends.onnx.table_contrib import CONTRIB, NCHWC
from edpc.frontends.onnx.table_standard import STANDARD

# Operators of the standard that become several operators, or one of several kinds.
EXPANDED: dict[str, Lowering] = {
    "Attention": attention_standard.attention,
    "CausalConvWithState": composites.causal_convolution,
    "ConvInteger": quantized.contraction("conv", (0, 1), None, (2, 3), o.convolution),
    "Dropout": composites.dropout,
    "DynamicQuantizeLinear": Row("quantize_dynamic"),
    "Expand": composites.expand,
    "Gather": composites.gather,
    "If": control_flow.branch,
    "LinearAttention": linear_attention,
    "Loop": control_flow.loop,
    "MatMulInteger": quantized.contraction("matmul", (0, 1), None, (2, 3)),
    "QLinearConv": quantized.contraction("conv", (0, 3), 8, (1, 2, 4, 5, 6, 7), o.quantised_convolution),
    "QLinearMatMul": quantized.contraction("matmul", (0, 3), None, (1, 2, 4, 5, 6, 7)),
    "RotaryEmbedding": rotary_embedding,
    "Scan": control_flow.scan,
    "SequenceMap": control_flow.sequence_map,
    "SimplifiedLayerNormalization": composites.simplified_layer_norm,
    "Transpose": composites.layout_change,
}

# Classical models: their coefficients are attributes, not tensors.
MACHINE_LEARNING: dict[str, Lowering] = {
    "ArrayFeatureExtractor": Row("gather", None, o.fixed(axis=-1)),
    "Binarizer": Row("greater"),
    "CastMap": Row("cast"),
    "CategoryMapper": Row("label_encoder", None, o.count("labels", "cats_int64s", "cats_strings")),
    "DictVectorizer": Row("label_encoder", None, o.count("labels", "int64_vocabulary", "string_vocabulary")),
    "FeatureVectorizer": Row("concat", None, o.fixed(axis=-1)),
    "Imputer": Row("imputer"),
    "LabelEncoder": Row("label_encoder", None, o.count("labels", "keys_int64s", "keys_strings", "keys_floats")),
    "LinearClassifier": Row("linear_model"),
    "LinearRegressor": Row("linear_model"),
    "Normalizer": Row("lp_norm", None, o.fixed(axis=-1)),
    "OneHotEncoder": Row("one_hot"),
    "SVMClassifier": Row("svm", None, o.support_vectors),
    "SVMRegressor": Row("svm", None, o.support_vectors),
    "Scaler": Row("scaler"),
    "TreeEnsemble": Row("tree_ensemble", None, o.trees),
    "TreeEnsembleClassifier": Row("tree_ensemble", None, o.trees),
    "TreeEnsembleRegressor": Row("tree_ensemble", None, o.trees),
    "ZipMap": Row("identity"),
}

TRAINING: dict[str, Lowering] = {
    "Adagrad": Row("adagrad"),
    "Adam": Row("adam"),
    "Gradient": Row("unknown"),
    "Momentum": Row("momentum"),
}

TABLE: dict[tuple[str, str], Lowering] = {
    (domain, name): lowering
    for domain, operators in (
        ("", STANDARD),
        ("", EXPANDED),
        ("ai.onnx.ml", MACHINE_LEARNING),
        ("ai.onnx.preview", {"FlexAttention": attention_standard.flex_attention}),
        ("ai.onnx.preview.training", TRAINING),
        ("com.microsoft", CONTRIB),
        ("com.microsoft.nchwc", NCHWC),
    )
    for name, lowering in operators.items()
}
