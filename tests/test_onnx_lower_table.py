"""Every operator of the standard and every contrib operator that networks are known to use has a line in the table."""

import onnx
import pytest
from onnx import TensorProto
from onnx import helper as h

from edpc.errors import ModelError
from edpc.frontends import load
from edpc.frontends.onnx.rows import Row
from edpc.frontends.onnx.table import TABLE
from edpc.operators import KINDS
from tests.onnx_graphs import checked, model, tensor

CONTRIB = [
    "Attention",
    "MultiHeadAttention",
    "DecoderMaskedMultiHeadAttention",
    "GroupQueryAttention",
    "SkipLayerNormalization",
    "SimplifiedLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "EmbedLayerNormalization",
    "RotaryEmbedding",
    "BiasGelu",
    "FastGelu",
    "QuickGelu",
    "Gelu",
    "BiasSplitGelu",
    "BiasAdd",
    "GroupNorm",
    "FusedMatMul",
    "FusedGemm",
    "FusedConv",
    "MatMulNBits",
    "MoE",
    "QMoE",
    "QAttention",
    "QGemm",
    "QLinearAdd",
    "QLinearMul",
    "QLinearConcat",
    "QLinearSigmoid",
    "QLinearLeakyRelu",
    "QLinearSoftmax",
    "QLinearGlobalAveragePool",
    "QLinearAveragePool",
    "QLinearWhere",
    "QLinearReduceMean",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "DynamicQuantizeLSTM",
]
NCHWC = ["Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReorderInput", "ReorderOutput", "Upsample"]


def test_every_operator_of_the_standard_is_in_the_table() -> None:
    names = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas_with_history()}
    assert names
    assert sorted(names - TABLE.keys()) == []


@pytest.mark.parametrize(("domain", "names"), [("com.microsoft", CONTRIB), ("com.microsoft.nchwc", NCHWC)])
def test_contrib_operators_are_in_the_table(domain: str, names: list[str]) -> None:
    assert [name for name in names if (domain, name) not in TABLE] == []


def test_rows_name_kinds_of_the_vocabulary() -> None:
    named = {row.kind for row in TABLE.values() if isinstance(row, Row)}
    assert sorted(named - KINDS.keys()) == []


def test_nothing_of_the_standard_is_unknown_but_training_gradients() -> None:
    unknown = [key for key, row in TABLE.items() if isinstance(row, Row) and row.kind == "unknown"]
    assert unknown == [("ai.onnx.preview.training", "Gradient")]


@pytest.mark.parametrize("operands", [0, 1, 2, 3, 9])
def test_nodes_with_operands_missing_or_to_spare_are_lowered_or_refused(operands: int) -> None:
    """Never a traceback: a graph that verifies, or one sentence."""
    done = 0
    refusals = []
    for domain, name in sorted(TABLE.keys()):
        inputs = [f"x{i}" for i in range(operands)]
        node = h.make_node(name, inputs, ["y"], name="node", domain=domain, num_heads=2, K=8, N=4, axis=1)
        weights = [tensor(f"x{i}", [4, 8, 8], TensorProto.UINT8 if i % 2 else TensorProto.FLOAT) for i in range(1, operands)]
        made = model([node], {"x0": [2, 4, 8]}, ["y"], weights)
        made.opset_import.add(domain="ai.onnx.preview", version=1)
        made.opset_import.add(domain="ai.onnx.preview.training", version=1)
        try:
            checked(load(made))
            done += 1
        except ModelError as error:
            refusals.append(str(error))
    assert done
    assert all("\n" not in refusal for refusal in refusals)
