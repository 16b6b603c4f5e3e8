"""Predictions against measured GPU kernels; skipped where the measurements are not at hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edpc.machine.catalogue import model_of
from edpc.machine.table import Floats, KernelTable
from edpc.target import Target
from targets.h100 import TARGET as H100
from targets.h200 import TARGET as H200

MEASURED = Path(__file__).parents[2] / "shared" / "measurements"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MEASURED.is_dir(), reason="the measured data is not beside the project"),
]


def gemms(name: str, precision: str) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """M, N, K, latency (s) and board power (W) of the measured products."""
    rows = []
    with (MEASURED / name).open() as file:
        for row in csv.DictReader(file):
            if row["op"] == "gemm" and row["precision"] == precision:
                shape = dict(part.split("=") for part in row["shape"].split(";"))
                rows.append([float(shape[axis]) for axis in "MNK"] + [float(row["latency_s"]), float(row["power_w"] or "nan")])
    m, n, k, latency, power = np.array(rows).T
    return m, n, k, latency, power


def table_of(m: Floats, n: Floats, k: Floats, precision: str, width: int, target: Target) -> KernelTable:
    """Products that each run alone: activations just written, weights in DRAM. fp8 takes its activations quantised already."""
    count = len(m)
    zero, one, row = np.zeros(count), np.ones(count), np.arange(count)
    c = target.constants()
    x = width * m * k
    warm = x <= c["llc.warm_fraction"] * c["llc.capacity"]

    def text(word: str) -> np.ndarray:
        return np.array([word] * count)

    names = tuple(map(str, row))
    return KernelTable(
        names=names,
        kind=text("matmul"),
        family=text("matmul"),
        precision=text(precision),
        kernel=row,
        macs=m * n * k,
        vector_ops=zero,
        transcendentals=zero,
        rows=zero,
        cols=zero,
        executions=one,
        weight_bytes=width * n * k,
        cold_bytes=np.where(warm, 0.0, x),
        warm_bytes=np.where(warm, x, 0.0),
        write_bytes=2 * m * n,
        resident_bytes=zero,
        on_chip_bytes=zero,
        accesses=2 * one,
        free=zero > 0,
        owner=row,
        batch=one,
        m=m,
        n=n,
        k=k,
        steps=one,
        group=names,
        kernel_class=text("gemm"),
        rule=text("separate"),
        launches=one,
        anchor=row,
        causal=zero > 0,
        window=zero,
        query_group=one,
    )


def predict(table: KernelTable, target: Target) -> tuple[Floats, Floats]:
    """Latency (s) and energy (J) of every kernel."""
    model = model_of(target)
    found = model.evaluate(table, target, target.constants(), model.plan(table, target))
    latency = found.compute_s + found.memory_s + found.overhead_s
    dynamic = found.compute_j + found.on_chip_j + found.dram_j + found.overhead_j
    return latency, dynamic + target.static_power.value * latency


def quantisers(m: Floats, k: Floats, target: Target) -> KernelTable:
    """The kernels that quantise the activations of products, a row at a time: 2 B in, 1 B out."""
    base = table_of(m, m, k, "fp32", 2, target)
    none = np.zeros(0)
    return replace(
        base,
        kind=np.full(len(m), "quantize_dynamic"),
        family=np.full(len(m), "quantization"),
        macs=0 * m,
        rows=m,
        cols=k,
        weight_bytes=0 * m,
        cold_bytes=base.cold_bytes + base.warm_bytes,
        warm_bytes=0 * m,
        write_bytes=m * k,
        owner=none.astype(int),
        **dict.fromkeys(("batch", "m", "n", "k", "steps"), none),
    )


def attentions(op: str, target: Target) -> tuple[KernelTable, Floats]:
    """Fused attentions with operands just written, as kernels of one operator with two products, and what they took."""
    heads, group, queries, keys, depth, window, latency = [], [], [], [], [], [], []
    with (MEASURED / "aic_h100_attention.csv").open() as file:
        for row in csv.DictReader(file):
            if row["op"] != op or "fp8" in row["precision"]:
                continue
            shape = {key: float(value) for key, value in (part.split("=") for part in row["shape"].split(";"))}
            query_heads = shape.get("Hq", shape.get("H", 0.0))
            key_heads = shape.get("Hkv", query_heads)
            length = shape.get("S", shape.get("S_kv", 0.0))
            heads.append(float(row["batch"]) * key_heads)
            group.append(query_heads / key_heads)
            queries.append(1.0 if op == "attention_decode" else length)
            keys.append(length)
            depth.append(shape["D"])
            window.append(shape.get("window", 0.0))
            latency.append(float(row["latency_s"]))
    h, r, q, s, d, w = (np.array(column) for column in (heads, group, queries, keys, depth, window))
    cache, count = 4 * h * s * d, len(h)
    c = target.constants()
    warm = cache <= c["llc.warm_fraction"] * c["llc.capacity"]
    base = table_of(q, s, d, "bf16", 2, target)
    twice = np.repeat(np.arange(count), 2)
    first = np.arange(2 * count) % 2 == 0
    return replace(
        base,
        macs=2 * h * r * q * s * d,
        weight_bytes=0 * h,
        cold_bytes=np.where(warm, 0.0, cache) + 2 * h * r * q * d,
        warm_bytes=np.where(warm, cache, 0.0),
        write_bytes=2 * h * r * q * d,
        owner=twice,
        batch=h[twice],
        m=(q * r)[twice],
        n=np.where(first, s[twice], d[twice]),
        k=np.where(first, d[twice], s[twice]),
        steps=np.ones(2 * count),
        kernel_class=np.full(count, "attention"),
        causal=np.full(count, op == "attention_prefill_causal"),
        window=w,
        query_group=r,
    ), np.array(latency)


def error(predicted: Floats, measured: Floats) -> Floats:
    return 100.0 * np.abs(predicted / measured - 1.0)


def roofline(table: KernelTable, precision: str, target: Target) -> Floats:
    """The trivial baseline: peak rate or peak bandwidth, whichever takes longer."""
    c = target.constants()
    moved = table.weight_bytes + table.cold_bytes + table.warm_bytes + table.write_bytes
    return np.maximum(2.0 * table.macs / c[f"matrix.{precision}.rate"], moved / c["dram.bandwidth"])


def say(what: str, off: Floats, trivial: Floats) -> None:
    """A row of the README's table."""
    ours = f"mean {off.mean():.1f} %, median {np.median(off):.1f} %, 9 of 10 below {np.quantile(off, 0.9):.1f} %"
    print(f"\n{what}, {len(off):,} kernels: {ours}; baseline {trivial.mean():.1f} %")


def test_bf16_products_on_h100_are_within_five_and_a_half_percent() -> None:
    m, n, k, latency, _ = gemms("aic_h100_gemm.csv", "bfloat16")
    table = table_of(m, n, k, "bf16", 2, H100)
    off = error(predict(table, H100)[0], latency)
    say("H100 bf16 GEMM, latency", off, error(roofline(table, "bf16", H100), latency))
    assert len(off) == 3789
    assert off.mean() < 5.5
    assert np.median(off) < 4.0
    assert np.quantile(off, 0.9) < 12.0


def test_board_power_of_long_h200_products_is_within_two_and_a_half_percent() -> None:
    m, n, k, latency, power = gemms("aic_h200_gemm_attention_power.csv", "bfloat16")
    # Shorter kernels outrun the power meter; K = 65536 streams weights that were never written.
    long = (latency >= 100e-6) & (k != 65536) & (power > 0)
    table = table_of(*(axis[long] for axis in (m, n, k)), "bf16", 2, H200)
    t, e = predict(table, H200)
    off_t, off_p = error(t, latency[long]), error(e / t, power[long])
    off_edp = error(e * t, power[long] * latency[long] ** 2)
    low = power[long] < 670
    trivial = roofline(table, "bf16", H200)
    say("H200 bf16 GEMM of 100 us and more, latency", off_t, error(trivial, latency[long]))
    constant = np.full(len(t), 690.0)  # what most of them read: the trivial baseline of power
    say("the same, board power (baseline: a constant 690 W)", off_p, error(constant, power[long]))
    say("the same, those below 670 W", off_p[low], error(constant, power[long])[low])
    say("the same, EDP (baseline: roofline at 690 W)", off_edp, error(690.0 * trivial**2, power[long] * latency[long] ** 2))
    assert off_t.mean() < 5.0
    assert off_p.mean() < 2.5
    assert off_p[low].mean() < 12.0
    assert off_edp.mean() < 10.0


def test_fp8_products_with_their_quantiser_on_h100_are_within_seven_percent() -> None:
    m, n, k, latency, _ = gemms("aic_h100_gemm.csv", "fp8")
    table = table_of(m, n, k, "fp8", 1, H100)
    off = error(predict(table, H100)[0] + predict(quantisers(m, k, H100), H100)[0], latency)
    say("H100 fp8 GEMM with its quantiser, latency", off, error(roofline(table, "fp8", H100), latency))
    assert off.mean() < 7.0


@pytest.mark.parametrize(
    ("op", "most"), [("attention_prefill_causal", 9.0), ("attention_encoder_bidir", 6.5), ("attention_decode", 11.0)]
)
def test_fused_attention_on_h100_is_within_its_bound(op: str, most: float) -> None:
    table, latency = attentions(op, H100)
    off = error(predict(table, H100)[0], latency)
    say(f"H100 {op}, latency", off, error(roofline(table, "bf16", H100), latency))
    assert off.mean() < most
