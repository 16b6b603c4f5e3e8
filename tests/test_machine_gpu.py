"""The GPU: tiles, waves, attention, access patterns, the clock under the power cap, launches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edpc.ir import Graph, Kernel, Operator, TensorType, Value, Work
from edpc.machine.annotate import annotate
from edpc.machine.build import build_table
from edpc.machine.catalogue import model_of
from edpc.machine.data_parallel_attention import Heads, count_blocks
from edpc.machine.data_parallel_power import clock_fraction
from edpc.operators import work
from edpc.target import Basis, Target
from targets.h100 import TARGET as H100
from targets.h100_pcie import TARGET as PCIE
from targets.h200 import TARGET as H200
from tests.machine_graphs import Net, alone, group

C = H100.constants()


def kernels(graph: Graph, target: Target = H100, groups: list | None = None) -> list[Kernel]:
    """Every kernel's cost; every operator alone unless groups are given."""
    graph.groups = groups or alone(graph)
    annotate(graph, target)
    return [g.kernel for g in graph.groups if g.kernel is not None]


def product(m: int, n: int, k: int, dtype: str = "bf16", batch: int = 1, precision: str | None = None) -> Graph:
    net = Net(dtype)
    lead = (batch,) if batch > 1 else ()
    x, w = net.input("x", *lead, m, k), net.parameter("w", *lead, k, n)
    attrs = {"compute_precision": precision} if precision else {}
    return net.done(net.op("y", "matmul", [x, w], *lead, m, n, **attrs))


def pointwise(kind: str, *shape: int, dtype: str = "fp32", out: tuple[int, ...] | None = None, **attrs: object) -> Graph:
    net = Net(dtype)
    return net.done(net.op("y", kind, [net.input("x", *shape)], *(out or shape), **attrs))


def latency(graph: Graph, target: Target = H100) -> float:
    return sum(k.cost.latency_s for k in kernels(graph, target))


def graph_work(graph: Graph, name: str) -> Work:
    found = graph.op(name).work
    assert found is not None
    return found


# --- products -------------------------------------------------------------------------------------------------


def test_double_the_batch_of_a_compute_bound_product_doubles_its_latency() -> None:
    for dtype, m in (("bf16", 8192), ("fp32", 4096)):
        one, two = (latency(product(rows, 4096, 4096, dtype)) for rows in (m, 2 * m))
        assert two / one == pytest.approx(2.0, rel=0.06)


def test_a_large_product_runs_near_the_sustained_rate_and_says_its_tile() -> None:
    (kernel,) = kernels(product(8192, 8192, 8192))
    assert kernel.bound == "compute"
    assert kernel.notes[0].startswith("tile ")
    assert 0.75 < kernel.utilization < C["gemm.efficiency"]


def test_a_skinny_product_streams_its_weights() -> None:
    (kernel,) = kernels(product(1, 8192, 8192))
    # 134 MB at 2.7 to 3.3 TB/s, and a floor of 2.4 us
    assert 134e6 / 3.3e12 + 2.4e-6 < kernel.cost.latency_s < 134e6 / 2.7e12 + 2.4e-6
    assert kernel.bound == "memory"


def test_a_long_contraction_with_few_tiles_is_split() -> None:
    (kernel,) = kernels(product(128, 128, 65536))
    assert "split" in kernel.notes[0]


def test_an_8_bit_product_by_hand() -> None:
    # M = 256, N = K = 4096: tiles 128 x 128, 2 x 32 = 64 tiles in one wave of 132 multiprocessors.
    # A step of 128 takes 2 * 128^3 FLOP at the sustained rate of a multiprocessor, above the shortest step.
    (kernel,) = kernels(product(256, 4096, 4096, "fp8e4m3", precision="fp8"))
    step = 2 * 128**3 / (1978.9e12 * C["gemm8.efficiency"] / 132)
    assert step > C["gemm8.step"]
    compute = C["gemm8.prologue"] + 32 * step
    # operands: x is warm, w comes from DRAM
    memory = 4096 * 4096 / (3.35e12 * C["gemm8.efficiency_dram"]) + 256 * 4096 / C["llc.bandwidth"] + C["gemm8.ramp"]
    q = C["gemm8.overlap"]
    expected = C["launch.graph"] + C["gemm8.floor"] + (compute**q + memory**q) ** (1 / q)
    assert kernel.cost.latency_s == pytest.approx(expected, rel=1e-6)


def test_a_product_with_a_vector_streams_its_matrix() -> None:
    for m, n in ((1, 4096), (4096, 1)):
        taken = latency(product(m, n, 4096, "fp32"))
        # 64 MiB of matrix at what reads attain of 3.35 TB/s, a launch and a floor; 16 KiB vectors do not show.
        stream = 4 * 4096 * 4096 / (C["dram.bandwidth"] * C["ffma.read_efficiency"])
        if m == 1:
            assert taken == pytest.approx(C["launch.graph"] + C["ffma.floor"] + stream, rel=0.02)
        assert taken < latency(product(2, 4096, 4096, "fp32"))


def test_an_fp32_product_runs_on_the_lanes_and_has_the_ends_of_its_library() -> None:
    graph, batched = product(4096, 4096, 4096, "fp32"), product(4096, 4096, 4096, "fp32", batch=2)
    (replayed,) = kernels(graph)
    eager = H100.with_setting("launch", "eager")
    (launched,) = kernels(graph, eager)
    # the same kernel, launched by the framework in 6.8 us instead of by the graph in 0.95
    assert launched.cost.latency_s - replayed.cost.latency_s == pytest.approx((6.8 - 0.95) * 1e-6, rel=1e-6)
    # a long kernel: 1.4 us of floor, and all of its first and last tiles
    assert replayed.cost.overhead_s == pytest.approx((0.95 + 1.4 + 12.6) * 1e-6)
    assert kernels(batched, eager)[0].cost.overhead_s == pytest.approx((6.8 + 1.4 + 12.1) * 1e-6)
    # one that is shorter than these tiles take has no more of them than it is long
    (short,) = kernels(product(256, 256, 256, "fp32"))
    assert (0.95 + 1.4) * 1e-6 < short.cost.overhead_s < (0.95 + 1.4) * 1e-6 + short.cost.compute_s


def test_an_8_bit_convolution_by_hand_and_a_depthwise_one_on_the_lanes() -> None:
    net = Net("int8")
    x, w = net.input("x", 64, 256, 14, 14), net.parameter("w", 256, 256, 3, 3)
    conv = net.done(net.op("y", "conv", [x, w], 64, 256, 14, 14, pads=(1, 1, 1, 1), compute_precision="int8"))
    (kernel,) = kernels(conv)
    # M = 64 * 196 = 12,544: 98 x 2 tiles in two waves; K = 2,304; activations of 3.2 MB are warm
    done = graph_work(conv, "y")
    floor = C["launch.graph"] + C["gemm8.floor"]
    rate, q = 1978.9e12 * C["gemm8.efficiency"] / 132, C["conv8.overlap"]
    compute = 2 * 2 * 128 * 128 * 2304 / rate + done.vector_ops / 133.8e12
    moved = 64 * 256 * 196
    memory = (256 * 256 * 9 + moved) / (3.35e12 * C["gemm8.efficiency_dram"]) + moved / C["llc.bandwidth"]
    expected = floor + (compute**q + memory**q) ** (1 / q)
    assert kernel.cost.latency_s == pytest.approx(expected, rel=1e-6)

    net = Net("int8")
    x, w = net.input("x", 1, 512, 7, 7), net.parameter("w", 512, 512, 3, 3)
    (kernel,) = kernels(net.done(net.op("y", "conv", [x, w], 1, 512, 7, 7, pads=(1, 1, 1, 1), compute_precision="int8")))
    # 1 x 4 tiles of K = 4,608 would keep 4 of 132 multiprocessors busy for 12 us; a ninth of the depth each takes 1.3 us and the
    # second pass.
    tile = 2 * 128 * 128 * 4608 / rate
    assert floor + tile / 9 + C["gemm.split"] < kernel.cost.latency_s < floor + tile / 2

    net = Net("bf16")
    x, w = net.input("x", 8, 512, 56, 56), net.parameter("w", 512, 1, 3, 3)
    depthwise = net.done(net.op("y", "conv", [x, w], 8, 512, 56, 56, pads=(1, 1, 1, 1), groups=512))
    (kernel,) = kernels(depthwise)
    assert kernel.notes == ()
    assert kernel.bound == "memory"
    # 12.8 M elements read (warm) and written: some 17 us, as a vector kernel
    assert kernel.cost.latency_s == pytest.approx(25.7e6 / 3.08e12 + 25.7e6 / 5.5e12 + 2.45e-6, rel=0.02)


def test_a_recurrence_pays_for_every_step() -> None:
    def lstm(steps: int) -> Graph:
        net = Net("fp32")
        x = net.input("x", steps, 1, 256)
        w, r = net.parameter("w", 1, 1024, 256), net.parameter("r", 1, 1024, 256)
        return net.done(net.op("y", "lstm", [x, w, r], steps, 1, 1, 256, hidden_size=256))

    assert latency(lstm(200)) - latency(lstm(100)) > 100 * C["recurrent.step"]


# --- attention ------------------------------------------------------------------------------------------------


def heads(queries: int, keys: int, causal: bool, window: int) -> Heads:
    one = np.ones(1)
    return Heads(one, one, queries * one, keys * one, 64 * one, one > (0 if causal else 1), window * one, 2 * one, *[one] * 4)


def test_blocks_that_tiles_touch_by_hand() -> None:
    # causal, 64 rows a tile: last keys 63, 127, 191, 255 lie in blocks 0, 0, 1, 1
    blocks = count_blocks(heads(256, 256, True, 0))
    assert (blocks.all[0], blocks.longest[0], blocks.tiles[0]) == (6, 2, 4)
    # of 256 x 256 products, 6 blocks of 64 x 128 run
    assert blocks.executed[0] == 6 * 64 * 128 / 256**2
    # no mask, 128 rows a tile: two tiles, two blocks each
    assert count_blocks(heads(256, 256, False, 0)).all[0] == 4
    # a window of 64: first keys 0, 1, 65, 129, so only the third tile touches two blocks
    assert count_blocks(heads(256, 256, True, 64)).all[0] == 5
    # 64 new queries behind 192 cached keys: one tile that sees all 256
    assert count_blocks(heads(64, 256, True, 0)).all[0] == 2


def attention(
    queries: int, keys: int, batch: int = 32, depth: int = 64, shared: int = 1, causal: bool = False
) -> tuple[Graph, list]:
    """Heads of attention; `shared` query heads read one key head through a broadcast view."""
    net = Net("bf16")
    q = net.input("q", batch, queries, depth)
    k, v = net.input("k", batch // shared, 1, depth, keys), net.input("v", batch // shared, 1, keys, depth)
    if shared > 1:
        k = net.op("ke", "view_expand", [k], batch // shared, shared, depth, keys)
        v = net.op("ve", "view_expand", [v], batch // shared, shared, keys, depth)
    k, v = net.op("kv", "reshape", [k], batch, depth, keys), net.op("vv", "reshape", [v], batch, keys, depth)
    s = net.op("s", "matmul", [q, k], batch, queries, keys)
    p = net.op("p", "softmax", [s], batch, queries, keys, axis=-1, causal=causal)
    graph = net.done(net.op("o", "matmul", [p, v], batch, queries, depth))
    return graph, [group("g0", *graph.compute_order(), kernel_class="attention")]


def test_fused_attention_never_writes_its_scores() -> None:
    graph, fused = attention(2048, 2048)
    (kernel,) = kernels(graph, groups=fused)
    separate = [graph.op(name).separate for name in ("s", "p", "o")]
    scores = 32 * 2048 * 2048 * 2
    assert sum(k.cost.dram_bytes for k in separate if k) - kernel.cost.dram_bytes >= 2 * scores
    assert kernel.cost.latency_s < sum(k.cost.latency_s for k in separate if k)
    assert kernel.dram_accesses == 4


def test_a_causal_mask_halves_long_attention() -> None:
    costs = []
    for causal in (False, True):
        graph, fused = attention(8192, 8192, causal=causal)
        costs.append(kernels(graph, groups=fused)[0].cost)
    full, masked = costs
    assert 0.45 < masked.compute_j / full.compute_j < 0.55
    assert 0.4 < masked.compute_s / full.compute_s < 0.8


def test_decode_reads_the_cache_and_query_heads_share_it() -> None:
    graph, fused = attention(1, 8192, batch=512, depth=128)
    (kernel,) = kernels(graph, groups=fused)
    cache = 2 * 512 * 8192 * 128 * 2
    assert kernel.bound == "memory"
    assert kernel.cost.latency_s == pytest.approx(cache / (3.35e12 * 0.91), rel=0.08)
    graph, fused = attention(1, 8192, batch=512, depth=128, shared=8)
    (grouped,) = kernels(graph, groups=fused)
    assert grouped.cost.dram_bytes < kernel.cost.dram_bytes / 7
    assert grouped.cost.latency_s < kernel.cost.latency_s / 4


# --- access patterns ------------------------------------------------------------------------------------------


def test_a_streaming_kernel_by_hand() -> None:
    # 64 M fp32 elements: too large for the cache; two tensors of 256 MB at 0.919 of 3.35 TB/s
    assert latency(pointwise("relu", 64_000_000)) == pytest.approx(512e6 / (3.35e12 * 0.919) + 2.45e-6, rel=1e-9)
    # a cached operand is read at the cache's rate: 16 MB in, 16 MB out
    assert latency(pointwise("relu", 4_000_000)) == pytest.approx(16e6 / (3.35e12 * 0.919) + 16e6 / 5.5e12 + 2.45e-6, rel=1e-9)


def test_softmax_transposes_and_eager_broadcasts_have_their_own_rates() -> None:
    rows = pointwise("softmax", 65536, 1024, axis=-1)
    # 16-fold below the row length that no longer fits, so a row is read once
    assert latency(rows) == pytest.approx(
        2 * 65536 * 4096 / (3.35e12 * C["vector.stream"] * C["vector.softmax"]) + 2.45e-6, rel=1e-4
    )
    kept = latency(pointwise("transpose", 64, 1024, 1024, out=(1024, 64, 1024), perm=(1, 0, 2)))
    moved = latency(pointwise("transpose", 64, 1024, 1024, out=(64, 1024, 1024), perm=(0, 2, 1)))
    assert moved > 2.5 * kept
    net = Net()
    x, b = net.input("x", 65536, 1024), net.parameter("b", 1024)
    graph = net.done(net.op("y", "add", [x, b], 65536, 1024))
    eager = H100.with_setting("launch", "eager")
    slow = kernels(graph, eager)[0].cost.memory_s
    moved = 2 * 65536 * 4096 + 4096
    assert slow == pytest.approx(moved / (132 * C["vector.broadcast"]))
    assert slow / kernels(graph)[0].cost.memory_s == pytest.approx(1 / 0.795, rel=1e-3)
    # More bandwidth does not help what multiprocessors hold up, and where there is less of it, it is all that is short.
    fast, narrow = (eager.with_quantity("hbm.bandwidth", b, "as the test says") for b in (4.8e12, 1e12))
    assert kernels(graph, fast)[0].cost.memory_s == slow
    assert kernels(graph, narrow)[0].cost.memory_s == pytest.approx(moved / (0.919 * 1e12))


def test_the_activation_quantiser_by_hand() -> None:
    net = Net("bf16")
    x = net.input("x", 16384, 4096)
    graph = net.graph
    kind = graph.type_of(x)
    op = Operator("quantize_dynamic", (kind,), (TensorType("fp8e4m3", (16384, 4096)), TensorType("fp32", (16384, 1))))
    graph.add("y", op, [x])
    graph.annotate("y", work=work(op))
    graph.add("return", Operator("return", op.outputs[:1]), [Value("y")])
    (kernel,) = kernels(graph)
    # 2 B in from DRAM, 1 B out; one thread block per row
    rows = 16384 * C["vector.quantise_row"]
    memory = 3 * 16384 * 4096 / (3.35e12 * C["vector.stream"] * C["vector.quantise"])
    q = C["vector.quantise_overlap"]
    expected = C["launch.graph"] + C["vector.quantise_floor"] + (rows**q + memory**q) ** (1 / q)
    assert kernel.cost.latency_s == pytest.approx(expected, rel=1e-3)


# --- power ----------------------------------------------------------------------------------------------------


def test_the_clock_yields_until_the_board_is_at_its_cap() -> None:
    c = {"static_power": 100.0, "power.active": 200.0, "power.cap": 700.0, "power.voltage": 0.0}
    one = np.ones(3)
    # events of 0, 0.4 and 0.8 J in a kernel of 1 s that only computes: 300, 700 and 1100 W at full clock.
    # At phi, T = 1 / phi: 100 + 200 phi + E phi <= 700, so phi = 600 / (200 + 800) = 0.6 for the third.
    events = np.array([0.0, 400.0, 800.0])
    phi = clock_fraction(one, 0 * one, 0 * one, np.inf * one, one, events, 0 * one, c)
    assert phi == pytest.approx([1.0, 1.0, 0.6], rel=1e-6)
    # where voltage follows: 100 + (200 + 800) phi^2 <= 700, bytes cost what they cost: 100 + 200 phi^2 + 800 phi <= 700
    c["power.voltage"] = 1.0
    phi = clock_fraction(one, 0 * one, 0 * one, np.inf * one, one, events, 0 * one, c)
    assert phi[2] == pytest.approx(0.6**0.5, rel=1e-6)
    phi = clock_fraction(one, 0 * one, 0 * one, np.inf * one, one, 0 * one, events, c)
    assert phi[2] == pytest.approx(7**0.5 - 2, rel=1e-6)


def test_random_data_throttles_a_large_product_and_zeros_do_not() -> None:
    graph = product(8192, 8192, 8192)
    (random,) = kernels(graph, H200)
    assert any("power-capped, clock fraction 0." in note for note in random.notes)
    assert random.cost.energy_j / random.cost.latency_s == pytest.approx(692, rel=1e-4)
    (zeros,) = kernels(graph, H200.with_quantity("power.data_activity", 0.0, "test"))
    assert zeros.notes[0] == random.notes[0]
    assert zeros.cost.latency_s < random.cost.latency_s


def test_no_kernel_draws_more_than_the_cap() -> None:
    for target in (H100, PCIE, H200):
        for size in (256, 1024, 4096):
            (kernel,) = kernels(product(size, size, size), target)
            assert kernel.cost.energy_j / kernel.cost.latency_s <= target.constants()["power.cap"] * (1 + 1e-6)


# --- launches -------------------------------------------------------------------------------------------------


# --- targets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [H100, PCIE, H200], ids=lambda t: t.name)
def test_targets_give_every_constant_and_no_other(target: Target) -> None:
    model = model_of(target)
    assert set(target.parameters) - set(model.parameters) == {"l1.tile_capacity"}
    for name, quantity in target.quantities().items():
        assert quantity.source, name
        assert quantity.basis is not Basis.ASSUMED or quantity.range or name == "power.data_activity", name


def test_peaks_are_dense_and_scale_with_multiprocessors() -> None:
    # 132 multiprocessors, 4 tensor cores of 1,024 FLOP a clock, 1.83 GHz
    assert H100.constants()["matrix.bf16.rate"] == pytest.approx(132 * 4 * 1024 * 1.83e9, rel=1e-3)
    assert PCIE.constants()["special.fp32.rate"] == pytest.approx(114 * 16 * 1.62e9, rel=1e-3)
    assert (PCIE.rules, H200.rules, H200.modifiers) == (H100.rules, H100.rules, H100.modifiers)
    slower = replace(H100, units=PCIE.units)
    graph = product(4096, 4096, 4096)
    assert latency(graph, slower) > latency(graph)
    table = build_table(graph, alone(graph), H100)
    assert table.warm_bytes.sum() == 4096 * 4096 * 2
