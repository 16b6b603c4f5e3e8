"""ResNet-50 in int8 on GPUs against MLPerf Offline results; nothing was fitted to them."""

from __future__ import annotations

from functools import cache

import pytest
from quantized_resnet import resnet50_int8

import edpc
from edpc.ir import Graph

BATCH = 256


@cache
def network() -> Graph:
    return edpc.load(resnet50_int8(BATCH))


def test_every_convolution_takes_its_scales_activation_and_residual_along() -> None:
    report = edpc.compile(network(), target="h100")
    assert report.target.precision == "int8"
    # 53 convolutions and the classifier, two poolings and the quantisation that feeds the classifier
    patterns = [group.fusion_pattern for group in report.subgraphs]
    assert patterns.count("qdq-conv") == 53
    assert patterns.count("qdq-gemm") == 1
    assert len(patterns) == 57
    # 4.09 G MACs an image, as torchvision counts them
    assert report.model.macs / BATCH == pytest.approx(4.09e9, rel=0.01)


@pytest.mark.parametrize(
    ("target", "images_per_s"),
    [("h100", 88_526), ("h100-pcie", 56_635), ("h200", 94_620)],  # of one GPU, MLPerf Inference, Offline
)
def test_throughput_is_within_a_few_percent_of_mlperf(target: str, images_per_s: float) -> None:
    predicted = BATCH / edpc.compile(network(), target=target).latency_s
    assert predicted == pytest.approx(images_per_s, rel=0.12)
