"""Models of one operator on a TPU v4 take exactly what the fitted laws say of that kernel, from the ONNX file to the report.

The laws (us; fitted to JAX kernels with fp16 operands on chip), with n an element count and P(n) padded to tiles of 8 x 128,
    product       1.02 + 5.38e-6 MN + 3.28e-6 K max(M, N) + 9.44e-6 K min(M, N) + 8.79e-9 MNK
    elementwise   0.90 + 17.8e-6 P(n) with two inputs, 0.90 + 12.8e-6 P(n) with one
    layer norm    7.60 + 13.5e-6 n + 1.59e-3 rows
    copy          0.60 + bytes / 1.02e6
"""

from __future__ import annotations

from itertools import product
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto
from onnx import helper as h

import edpc
from edpc.report import Report
from tests.onnx_graphs import model, tensor

FP16, BF16, FP32 = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT


def report_of(
    node: NodeProto,
    *shapes: tuple[int, ...],
    dtype: int = FP16,
    target: str = "tpu",
    precision: str | None = None,
    set: tuple[str, ...] = (),
) -> Report:
    """The report of a model of one node, all of whose operands are graph inputs."""
    inputs = {name: (dtype, list(shape)) for name, shape in zip(node.input, shapes, strict=True)}
    return edpc.compile(model([node], inputs, list(node.output)), target=target, precision=precision, set=set)


def us(report: Report) -> float:
    return report.latency_s * 1e6


def matmul(m: int, n: int, k: int, dtype: int = FP16, precision: str | None = None, target: str = "tpu") -> Report:
    return report_of(h.make_node("MatMul", ["a", "b"], ["y"]), (m, k), (k, n), dtype=dtype, precision=precision, target=target)


def law(m: int, n: int, k: int) -> float:
    return 1.02 + 5.38e-6 * m * n + 3.28e-6 * k * max(m, n) + 9.44e-6 * k * min(m, n) + 8.79e-9 * m * n * k


def padded(*shape: int) -> int:
    """Elements in tiles: one axis to whole tiles of 1024, two axes to 8 x 128 in the better layout."""
    if len(shape) == 1:
        return ceil(shape[0] / 1024) * 1024
    *outer, rows, columns = shape
    inner = [ceil(a / 8) * 8 * ceil(b / 128) * 128 for a, b in ((rows, columns), (columns, rows))]
    return prod(outer) * min(inner)


@pytest.mark.parametrize("dtype", [FP16, BF16], ids=["fp16", "bf16"])
def test_a_product_of_graph_inputs_follows_its_law_from_32_to_4096(dtype: int) -> None:
    for m, n, k in product([32, 192, 1024, 4096], repeat=3):
        # 8.79 fs stand in the target as 0.827 of peak, which rounds by 3e-4.
        assert us(matmul(m, n, k, dtype)) == pytest.approx(law(m, n, k), rel=5e-4), (m, n, k)


def test_a_product_by_hand() -> None:
    # 512 x 512 x 512: 1.02 + (5.38 + 3.28 + 9.44) * 0.262144 + 8.79e-3 * 134.217728 = 1.02 + 4.7448 + 1.1798
    assert us(matmul(512, 512, 512)) == pytest.approx(6.9446, rel=5e-4)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(32, 4096)] * 3))
def test_sizes_that_fill_no_tile_follow_the_same_law(size: tuple[int, int, int]) -> None:
    assert us(matmul(*size)) == pytest.approx(law(*size), rel=5e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_model_in_fp32_served_in_16_bit_follows_the_law(precision: str) -> None:
    assert us(matmul(1024, 384, 768, FP32, precision)) == pytest.approx(law(1024, 384, 768), rel=5e-4)


@pytest.mark.parametrize(("op", "inputs", "price"), [("Add", 2, 17.8), ("Mul", 2, 17.8), ("Relu", 1, 12.8)])
@pytest.mark.parametrize(
    "shape", [(32,), (1000,), (1 << 20,), (8, 128), (100, 3), (33, 77), (1024, 1024), (4096, 4096), (6, 50, 200)]
)
def test_elementwise_kernels_pay_a_floor_and_padded_elements(op: str, inputs: int, price: float, shape: tuple[int, ...]) -> None:
    node = h.make_node(op, [f"x{i}" for i in range(inputs)], ["y"])
    assert us(report_of(node, *[shape] * inputs)) == pytest.approx(0.90 + price * 1e-6 * padded(*shape), rel=1e-6)


@pytest.mark.parametrize("shape", [(32, 32), (128, 4096), (4096, 32), (100, 100), (1024, 1024), (4096, 4096), (8, 64, 512)])
def test_a_layer_norm_pays_a_floor_elements_and_rows(shape: tuple[int, ...]) -> None:
    width = shape[-1]
    node = h.make_node("LayerNormalization", ["x", "g", "b"], ["y"], axis=-1)
    expected = 7.6 + 13.5e-6 * prod(shape) + 1.59e-3 * prod(shape) / width
    assert us(report_of(node, shape, (width,), (width,))) == pytest.approx(expected, rel=1e-6)
    parameters = [tensor("g", [width], FP16), tensor("b", [width], FP16)]
    stored = edpc.compile(model([node], {"x": (FP16, shape)}, ["y"], parameters), target="tpu")
    assert us(stored) == pytest.approx(expected, rel=1e-6)


def test_a_copy_passes_its_bytes_once() -> None:
    copy = report_of(h.make_node("Transpose", ["x"], ["y"], perm=[1, 0]), (1024, 2048))
    assert us(copy) == pytest.approx(0.60 + 2 * 1024 * 2048 / 1.02e6, rel=1e-6)


def test_operands_that_outgrow_the_chip_come_from_hbm() -> None:
    # 128 MiB, of which four fifths hold operands: 7168 x 7168 in 16 bit is 103 MB and fits, 8192 x 8192 is 134 MB and does not.
    node = h.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    small, large = (report_of(node, (side, side)) for side in (7168, 8192))
    assert small.totals.dram_bytes == 2 * 7168**2
    assert us(small) == pytest.approx(0.60 + 2 * 7168**2 / 1.02e6, rel=1e-6)
    assert large.totals.dram_bytes == 2 * 2 * 8192**2
    assert us(large) == pytest.approx(0.60 + 2 * 2 * 8192**2 / 1.02e6, rel=1e-6)
    products = matmul(8192, 512, 8192), matmul(4096, 512, 8192)
    assert [r.totals.dram_bytes for r in products] == [2 * 8192 * 8192 + 2 * 8192 * 512, 2 * 4096 * 512]


def test_every_batch_of_a_batched_product_pays_for_its_own_operands() -> None:
    node = h.make_node("MatMul", ["a", "b"], ["y"])
    found = us(report_of(node, (12, 128, 64), (12, 64, 256)))
    assert found == pytest.approx(1.02 + 12 * (law(128, 256, 64) - 1.02), rel=5e-4)


def test_a_pointwise_convolution_is_the_product_it_computes() -> None:
    node = h.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1])
    assert us(report_of(node, (1, 256, 28, 28), (512, 256, 1, 1))) == pytest.approx(law(784, 512, 256), rel=5e-4)


@settings(max_examples=20, deadline=None)
@given(size=st.tuples(*[st.integers(1, 3000)] * 3), axis=st.integers(0, 2), more=st.integers(1, 600))
@pytest.mark.parametrize("target", ["tpu", "tpu-v5e"])
def test_a_larger_product_takes_longer_and_a_little_larger_little_longer(
    target: str, size: tuple[int, int, int], axis: int, more: int
) -> None:
    longer = tuple(side + more * (i == axis) for i, side in enumerate(size))
    once, again = us(matmul(*size, target=target)), us(matmul(*longer, target=target))
    growth = longer[axis] / size[axis]
    assert once < again <= once * growth


@pytest.mark.parametrize("target", ["tpu", "tpu-v5e"])
def test_a_chip_draws_no_more_than_its_limit(target: str) -> None:
    limit = float(edpc.api.configure(target).constants()["power.limit"])
    busiest = [matmul(side, side, side, BF16, target=target) for side in (1024, 4096, 16384)]
    assert all(r.totals.average_power_w < limit for r in busiest)
    # At mean power the peak would cost 0.62 pJ/FLOP: a product below peak is cheaper than that and draws less than the mean.
    if target == "tpu":
        assert all(90 < r.totals.average_power_w < 170 for r in busiest)
    hungry = report_of(
        h.make_node("MatMul", ["a", "b"], ["y"]),
        *[(16384, 16384)] * 2,
        dtype=BF16,
        target=target,
        set=("matrix.bf16.energy=1pJ/FLOP",),
    )
    assert hungry.totals.average_power_w == pytest.approx(limit, rel=1e-6)
    assert hungry.latency_s > busiest[-1].latency_s


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["MatMul", "Add", "Relu", "Softmax", "Transpose"]),
    st.tuples(*[st.integers(1, 600)] * 2),
    st.sampled_from(["tpu", "tpu-v1", "tpu-v5e", "kpu", "kpu-t64", "kpu-t768"]),
)
def test_no_component_of_energy_or_time_is_negative(op: str, shape: tuple[int, int], target: str) -> None:
    binary = op in ("MatMul", "Add")
    shapes = [shape, shape[::-1] if op == "MatMul" else shape][: 1 + binary]
    attributes = {"perm": [1, 0]} if op == "Transpose" else {}
    found = report_of(h.make_node(op, ["a", "b"][: 1 + binary], ["y"], **attributes), *shapes, target=target)
    for by_component in (found.totals.energy_by_component, found.totals.latency_by_component):
        values = [getattr(by_component, name) for name in by_component.__struct_fields__]
        assert min(values) >= 0.0
        assert np.isfinite(values).all()
