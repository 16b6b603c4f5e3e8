"""What an exporter folded or wrote out is told from the marks it leaves on nodes."""

from __future__ import annotations

import onnx

from edpc.frontends.onnx.rewrites import exporter_notes

RULE = "pkg.onnxscript.rewriter.rule_name"
NORM = ": net.Net/norm: torch.nn.modules.normalization.RMSNorm/"
ATTENTION = ": net.Net/mix: net.Mix/scaled_dot_product_attention_1: aten.scaled_dot_product_attention.default"


def node(kind: str, **marks: str) -> onnx.NodeProto:
    made = onnx.helper.make_node(kind, ["x"], ["y"])
    for key, value in marks.items():
        made.metadata_props.add(key=RULE if key == "rule" else key, value=value)
    return made


def test_folded_batch_norms_are_told_apart_from_other_rules() -> None:
    notes = exporter_notes(
        [
            node("Conv", rule="FuseBatchNormIntoConv, RemoveOptionalBiasFromConv"),
            node("Conv", rule="FuseBatchNormIntoConv"),
            node("Gemm", rule="MatMulAddToGemm\x1b[31m"),
            node("Reshape", rule="ReshapeReshape"),
        ]
    )
    assert notes == [
        "batch norms that the exporter folded into the weights of convolutions or products: 2",
        "operators that the exporter rewrote, by rules such as 'MatMulAddToGemm\\x1b[31m': 1",
    ]


def test_layers_and_calls_that_became_several_are_counted() -> None:
    norm = [node(kind, namespace=NORM + f"{kind}: aten.{kind}.default") for kind in ("Pow", "ReduceMean", "Sqrt", "Mul")]
    mixed = [node(kind, namespace=ATTENTION) for kind in ("Reshape", "MatMul", "Softmax", "MatMul")]
    assert exporter_notes([*norm, *mixed]) == [
        "layers and calls of torch that the exporter wrote out as more than 2 operators each: "
        "1 RMSNorm, 1 aten.scaled_dot_product_attention"
    ]


def test_a_product_with_its_bias_is_one_call_and_unmarked_nodes_say_nothing() -> None:
    linear = ": net.Net/fc: torch.nn.modules.linear.Linear/linear: aten.linear.default"
    assert exporter_notes([node("MatMul", namespace=linear), node("Add", namespace=linear), node("Relu")]) == []
