"""The GPU: kernels on multiprocessors under a board power cap.

Every kernel gets the form of what it runs (matrix product, attention, vector), each with compute time, memory time and time
on top; T = launch + extra + overlap(compute / phi, memory, q). Power couples back into time through the clock fraction phi.
The energy of clocked multiprocessors counts as overhead energy: it is drawn whatever they compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edpc.machine.compose import compose, dram_bytes, external_bytes, kernel_sum
from edpc.machine.data_parallel_attention import PARAMETERS as ATTENTION
from edpc.machine.data_parallel_attention import Blocks, Heads, count_blocks, decode_times, heads_of, tiled_times
from edpc.machine.data_parallel_error import PARAMETERS as ERRORS
from edpc.machine.data_parallel_error import latency_error
from edpc.machine.data_parallel_gemm import PARAMETERS as GEMM
from edpc.machine.data_parallel_gemm import (
    Products,
    Tiles,
    Times,
    choose_lane_tiles,
    choose_library_tiles,
    choose_persistent_tiles,
    convolution8_times,
    lane_times,
    library_times,
    persistent_times,
)
from edpc.machine.data_parallel_host import PARAMETERS as HOST
from edpc.machine.data_parallel_host import asks, exposed_launches
from edpc.machine.data_parallel_power import PARAMETERS as POWER
from edpc.machine.data_parallel_power import clock_fraction
from edpc.machine.data_parallel_rereads import with_rereads
from edpc.machine.data_parallel_vector import PARAMETERS as VECTOR
from edpc.machine.data_parallel_vector import QUANTISE, ROWWISE, Patterns, patterns, vector_times
from edpc.machine.mixed_step import PARAMETERS as SERVING
from edpc.machine.model import Constants, CostModel, completed, leading_shape, register, spread
from edpc.machine.rates import arithmetic_energy, per_row, served_as, unit_of, utilization
from edpc.machine.table import CostColumns, Flags, Floats, Ints, KernelTable, Names
from edpc.operators import Family
from edpc.target import Target

# Forms of a contraction.
_LIBRARY, _PERSISTENT, _CONVOLUTION8, _LANES, _ATTENTION, _DIRECT = (
    "library",
    "persistent",
    "conv8",
    "lanes",
    "attention",
    "direct",
)
_BYTES = {"fp64": 8.0, "fp32": 4.0, "tf32": 4.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5, "fp4": 0.5}
_FAMILY = {_LIBRARY: "gemm", _PERSISTENT: "gemm8", _CONVOLUTION8: "conv8", _LANES: "ffma"}
_NARROWEST_TILE = 8  # columns of the smallest matrix instruction; grouped convolutions below it run on the vector lanes


@dataclass(frozen=True, slots=True)
class Plan:
    """The discrete choices.

    Attributes:
        form: per contraction. precision: in which the matrix unit serves it. main: per kernel, its largest contraction or -1.
        products: contractions as matrix products, without rates. tiles: per contraction.
        fused: kernels of attention. heads, blocks: what they are, one row each.
        patterns: of kernels without products.
        padded: per operator, arithmetic executed over arithmetic asked for (padding of tiles, masked blocks left out).
    """

    form: Names
    precision: Names
    main: Ints
    products: Products
    tiles: Tiles
    fused: Ints
    heads: Heads
    blocks: Blocks
    patterns: Patterns
    padded: Floats


@dataclass(slots=True)
class _Bodies:
    """What kernels do before power and launches, shape (..., g)."""

    compute: Floats
    memory: Floats
    extra: Floats
    q: Floats
    blocks: Floats
    restream: Floats


class DataParallel(CostModel):
    """GPUs; see the module."""

    architecture: ClassVar[str] = "data-parallel"
    overhead_is_power: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sm.count": ("1", "multiprocessors"),
        "launch.graph": ("s", "launch of a kernel replayed in a graph"),
        "recurrent.step": ("s", "synchronisation of a step of a recurrence"),
        "llc.warm_fraction": ("1", "share of the last-level cache that keeps what was just written"),
        "llc.capacity": ("B", "capacity of a memory of role llc"),
        **GEMM,
        **ATTENTION,
        **VECTOR,
        **POWER,
        **ERRORS,
        **HOST,
        **SERVING,
    }

    def plan(self, table: KernelTable, target: Target) -> Plan:
        """Forms, tiles and block counts at nominal constants."""
        c = target.constants()
        kernel = table.kernel[table.owner]
        unit = unit_of(target, "matrix")
        names, inverse = np.unique(table.precision[table.owner], return_inverse=True)
        served = np.array([served_as(unit, str(p)) for p in names], str)[inverse] if len(names) else names
        form = _forms(table, served, kernel)
        size = np.array([_BYTES.get(str(p), 2.0) for p in served])
        moved = {name: _sum(table.kernel, column, len(table.group))[kernel] for name, column in _moved(table).items()}
        products = Products(table.batch, table.m, table.n, table.k, size, per_row(target, c, "matrix", "rate", served), **moved)
        tiles = Tiles(np.ones(len(kernel)), np.ones(len(kernel)), np.ones(len(kernel)))
        for name, chosen in (
            (_LIBRARY, lambda p: choose_library_tiles(p, c)),
            (_PERSISTENT, choose_persistent_tiles),
            (_LANES, lambda p: choose_lane_tiles(p, c)),
        ):
            at = np.flatnonzero(form == name)
            if len(at):
                best = chosen(_some(products, at))
                tiles.m[at], tiles.n[at], tiles.split[at] = best.m, best.n, best.split
        fused, first = np.unique(kernel[form == _ATTENTION], return_index=True)
        heads = heads_of(table, products, np.flatnonzero(form == _ATTENTION)[first], fused)
        blocks = count_blocks(heads)
        calls = np.ones(len(table.group), bool)
        calls[kernel[form != _DIRECT]] = False
        calls &= table.launches > 0
        walked = with_rereads(patterns(table, np.flatnonzero(calls), target.setting("launch") == "eager", c), table, c)
        padded = _padding(table, form)
        for number, share in zip(fused, blocks.executed, strict=True):
            padded[table.kernel == number] = share
        main = _main(table, kernel, form)
        return Plan(form, served, main, products, tiles, fused, heads, blocks, walked, padded)

    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Plan) -> CostColumns:
        """Latency and energy of every kernel, divided among its operators."""
        c = completed(constants, target)
        table = _touched(table, plan)
        sms = c["sm.count"]
        eager = target.setting("launch") == "eager"
        bodies = _bodies(table, target, c, plan)
        launched = bodies.extra if eager else bodies.extra + table.launches * c["launch.graph"]

        energy = _energies(table, target, c, plan, bodies)
        occupancy = np.minimum(bodies.blocks / sms, 1.0) * (table.launches > 0)
        sums = kernel_sum(table, energy[0]), kernel_sum(table, energy[1] + energy[2])
        phi = clock_fraction(bodies.compute, bodies.memory, launched, bodies.q, occupancy, *sums, c)

        compute = bodies.compute / phi
        use_of_lanes = _operator_seconds(table, target, c)
        latency = compose(table, compute, bodies.memory, launched, bodies.q, use_of_lanes, external_bytes(table))
        voltage = phi ** c["power.voltage"]
        active = c["power.active"] * occupancy * phi * voltage * latency.total
        # Where a kernel takes longer than predicted it does so at the predicted power.
        error = latency_error(_families(table, plan), latency.total, c)
        priced = error * np.where(phi < 1.0, c["power.capped.error"], c["power.error"])
        body = error * latency.total
        waiting = exposed_launches(body, table.launches, asks(table), c) if eager else np.zeros_like(body)
        busy = latency.compute_s + latency.memory_s + latency.overhead_s
        slower, dearer = error[..., table.kernel], priced[..., table.kernel]
        overhead_s = slower * latency.overhead_s + spread(waiting, np.where(table.free, 0.0, 1.0), table.kernel)
        total = body + waiting
        return CostColumns(
            compute_s=slower * latency.compute_s,
            memory_s=slower * latency.memory_s,
            overhead_s=overhead_s,
            compute_j=dearer * voltage[..., table.kernel] * energy[0],
            on_chip_j=dearer * energy[1],
            dram_j=dearer * energy[2],
            overhead_j=spread(priced * active, busy, table.kernel),
            dram_bytes=np.broadcast_to(dram_bytes(table), overhead_s.shape),
            busy_compute_s=compute,
            busy_memory_s=bodies.memory,
            utilization=utilization(table, target, c, total),
            notes=_notes(table, plan, phi) if phi.ndim == 1 else {},
        )


def _forms(table: KernelTable, served: Names, kernel: Ints) -> Names:
    """The form of every contraction: by the kernel it stands in, by its precision, by how narrow it is."""
    family = table.family[table.owner]
    narrow = np.isin(served, ["int8", "fp8", "int4", "fp4", "int2"])
    convolution = family == Family.CONVOLUTION.value
    pairs = np.bincount(kernel, minlength=len(table.group)) >= 2
    form: Names = np.select(
        [
            (table.kernel_class[kernel] == "attention") & pairs[kernel],
            convolution & (table.n < _NARROWEST_TILE) & (table.batch > 1),
            np.isin(served, ["fp32", "fp64"]),
            narrow & convolution,
            narrow,
        ],
        [_ATTENTION, _DIRECT, _LANES, _CONVOLUTION8, _PERSISTENT],
        _LIBRARY,
    )
    return form


def _families(table: KernelTable, plan: Plan) -> Names:
    """Every kernel's family, as model errors name it."""
    found: Names = np.full(len(table.group), "vector", dtype="U32")
    found[plan.patterns.kernels[np.isin(plan.patterns.pattern, ROWWISE)]] = "rowwise"
    found[plan.patterns.kernels[plan.patterns.pattern == QUANTISE]] = "gemm8"
    at = np.flatnonzero(plan.main >= 0)
    found[at] = np.array([_FAMILY[str(form)] for form in plan.form[plan.main[at]]], "U32") if len(at) else found[at]
    causal, decode = plan.heads.causal, plan.heads.decode
    found[plan.fused] = np.where(decode, "attention.decode", np.where(causal, "attention.prefill", "attention.encoder"))
    return found


def _moved(table: KernelTable) -> dict[str, Floats]:
    """Bytes from DRAM, from the last-level cache, and written, per operator."""
    return {"dram": table.weight_bytes + table.cold_bytes, "warm": table.warm_bytes, "write": table.write_bytes}


def _some(p: Products, at: Ints) -> Products:
    return Products(*(getattr(p, name)[..., at] for name in Products.__slots__))


def _touched(table: KernelTable, plan: Plan) -> KernelTable:
    """The columns without what a window keeps a decode step from reading."""
    share = np.ones(len(table.group))
    share[plan.fused] = plan.heads.seen
    if (share == 1.0).all():
        return table
    by_operator = share[table.kernel]
    return replace(
        table,
        weight_bytes=table.weight_bytes * by_operator,
        cold_bytes=table.cold_bytes * by_operator,
        warm_bytes=table.warm_bytes * by_operator,
    )


def _padding(table: KernelTable, form: Names) -> Floats:
    """Products executed over products asked for, per operator: sides fill instructions of 16 by 64, the depth steps of 64."""
    short, long = np.minimum(table.m, table.n), np.maximum(table.m, table.n)
    filled = 16 * np.ceil(short / 16) * 64 * np.ceil(long / 64) * 64 * np.ceil(table.k / 64)
    macs = table.batch * table.m * table.n * table.k * table.steps
    tiled = np.isin(form, [_LIBRARY, _PERSISTENT, _CONVOLUTION8])
    executed = np.where(tiled, table.batch * table.steps * filled, macs)
    asked = _sum(table.owner, macs, len(table.names))
    return np.where(asked > 0, _sum(table.owner, executed, len(table.names)) / np.maximum(asked, 1.0), 1.0)


def _main(table: KernelTable, kernel: Ints, form: Names) -> Ints:
    """The largest contraction of every kernel that runs matrix products, -1 elsewhere."""
    main = np.full(len(table.group), -1)
    rows = np.flatnonzero((form != _DIRECT) & (form != _ATTENTION))
    macs = (table.batch * table.m * table.n * table.k * table.steps)[rows]
    ascending = rows[np.argsort(macs, kind="stable")]
    main[kernel[ascending]] = ascending
    return main


def _bodies(table: KernelTable, target: Target, c: Constants, plan: Plan) -> _Bodies:
    """Busy times of every kernel at full clock."""
    lead = leading_shape(c)
    g = len(table.group)
    found = _Bodies(*(np.zeros((*lead, g)) for _ in range(6)))
    found.q += np.inf
    _vector_bodies(found, table, target, c, plan)
    _attention_bodies(found, table, target, c, plan)
    _product_bodies(found, table, target, c, plan)
    return found


def _vector_bodies(found: _Bodies, table: KernelTable, target: Target, c: Constants, plan: Plan) -> None:
    """Kernels without matrix products; depthwise convolutions run their products on the vector lanes."""
    seconds = _operator_seconds(table, target, c, matrix="vector")
    by_kernel = {name: _sum(table.kernel, column, len(table.group)) for name, column in _moved(table).items()}
    times = vector_times(table, plan.patterns, c, kernel_sum(table, seconds), by_kernel)
    at = plan.patterns.kernels
    for column, value in zip((found.compute, found.memory, found.extra, found.q, found.blocks), times, strict=True):
        column[..., at] = value


def _attention_bodies(found: _Bodies, table: KernelTable, target: Target, c: Constants, plan: Plan) -> None:
    """Fused attentions."""
    if not len(plan.fused):
        return
    first = np.unique(table.kernel[table.owner][plan.form == _ATTENTION], return_index=True)[1]
    served = plan.precision[plan.form == _ATTENTION][first]
    heads = replace(plan.heads, rate=per_row(target, c, "matrix", "rate", served))
    prefill, decode = tiled_times(heads, plan.blocks, c), decode_times(heads, c)
    for name, column in (
        ("compute", found.compute),
        ("memory", found.memory),
        ("q", found.q),
        ("ctas", found.blocks),
        ("restream", found.restream),
    ):
        column[..., plan.fused] = np.where(heads.decode, getattr(decode, name), getattr(prefill, name))
    extra = np.where(heads.decode, decode.extra, prefill.extra)
    found.extra[..., plan.fused] = extra * table.launches[plan.fused]


def _product_bodies(found: _Bodies, table: KernelTable, target: Target, c: Constants, plan: Plan) -> None:
    """Kernels that run matrix products: all their contractions compute, the largest one shapes memory and floor."""
    kernel = table.kernel[table.owner]
    rates = per_row(target, c, "matrix", "rate", plan.precision)
    products = replace(plan.products, rate=rates)
    g, steps = len(table.group), table.steps
    for form in (_LIBRARY, _PERSISTENT, _CONVOLUTION8, _LANES):
        at = np.flatnonzero(plan.form == form)
        if not len(at):
            continue
        t = _times(form, _some(products, at), Tiles(plan.tiles.m[at], plan.tiles.n[at], plan.tiles.split[at]), c)
        # Kernels first: several contractions may stand in one.
        np.add.at(found.compute.T, kernel[at], (t.compute * steps[at]).T)
        np.add.at(found.restream.T, kernel[at], (t.restream * steps[at] + np.zeros_like(t.compute)).T)
        np.maximum.at(found.blocks.T, kernel[at], (t.ctas + np.zeros_like(t.compute)).T)
        largest = np.flatnonzero(np.isin(at, plan.main))
        where = kernel[at[largest]]
        found.memory[..., where] = t.memory[..., largest]
        found.extra[..., where] = t.extra[..., largest] * np.maximum(table.launches[where], 1.0)
        found.q[..., where] = t.q
    at = np.flatnonzero(plan.main >= 0)
    # Whatever else the kernel computes runs on the vector lanes after the products.
    beside = kernel_sum(table, _operator_seconds(table, target, c, matrix=None))
    found.compute[..., at] += beside[..., at]
    # A recurrence synchronises at every step and reads its weights again, from the cache.
    recurrent = np.isin(table.family[table.owner], [Family.RECURRENT.value]) & (table.steps > 1)
    if recurrent.any():
        again = _sum(kernel[recurrent], (steps - 1)[recurrent], g) * _sum(table.kernel, table.weight_bytes, g)
        found.memory += again / c["llc.bandwidth"]
        found.extra += _sum(kernel[recurrent], steps[recurrent], g) * c["recurrent.step"]


def _times(form: str, p: Products, tiles: Tiles, c: Constants) -> Times:
    if form == _LIBRARY:
        return library_times(p, tiles, c)
    if form == _PERSISTENT:
        return persistent_times(p, tiles, c)
    return convolution8_times(p, c) if form == _CONVOLUTION8 else lane_times(p, tiles, c)


def _operator_seconds(table: KernelTable, target: Target, c: Constants, matrix: str | None = "matrix") -> Floats:
    """Time of every operator's arithmetic at peak; products on the unit `matrix`, or left out. Shape (..., n)."""
    vector = table.vector_ops / per_row(target, c, "vector", "rate", table.precision)
    seconds = vector + table.transcendentals / per_row(target, c, "special", "rate", table.precision)
    return seconds if matrix is None else seconds + 2.0 * table.macs / per_row(target, c, matrix, "rate", table.precision)


def _energies(table: KernelTable, target: Target, c: Constants, plan: Plan, bodies: _Bodies) -> tuple[Floats, Floats, Floats]:
    """Energy of arithmetic, of on-chip traffic and of DRAM traffic in J, each of shape (..., n)."""
    quiet = 1.0 - c["power.data_activity"]
    arithmetic = arithmetic_energy(table, target, c) * plan.padded * (1.0 - c["power.zero_arithmetic"] * quiet)
    restreamed = spread(bodies.restream, 2.0 * table.macs, table.kernel)
    reads = table.weight_bytes + table.cold_bytes + table.warm_bytes
    on_chip = (reads + restreamed) * c["llc.read_energy"] + table.write_bytes * c["llc.write_energy"]
    on_chip = on_chip + table.on_chip_bytes * c.get("local.read_energy", 0.0)
    weights = table.weight_bytes * (1.0 - c["power.zero_dram"] * quiet)
    dram = (weights + table.cold_bytes) * c["dram.read_energy"] + table.write_bytes * c["dram.write_energy"]
    shape = np.broadcast_shapes(arithmetic.shape, on_chip.shape, dram.shape)
    return np.broadcast_to(arithmetic, shape), np.broadcast_to(on_chip, shape), np.broadcast_to(dram, shape)


def _notes(table: KernelTable, plan: Plan, phi: Floats) -> dict[int, tuple[str, ...]]:
    """What every kernel's report says: the tile chosen, and the clock where the power cap holds it down."""
    notes: dict[int, list[str]] = {}
    for number in np.flatnonzero(plan.main >= 0).tolist():
        row = plan.main[number]
        if plan.form[row] != _CONVOLUTION8:
            split = plan.tiles.split[row]
            text = f"tile {plan.tiles.m[row]:.0f}x{plan.tiles.n[row]:.0f}" + (f", split {split:.0f}" if split > 1 else "")
            notes.setdefault(number, []).append(text)
    for number in np.flatnonzero(phi < 1.0).tolist():
        notes.setdefault(number, []).append(f"power-capped, clock fraction {phi[number]:.2f}")
    return {number: tuple(lines) for number, lines in notes.items()}


def _sum(index: Ints, amount: Floats | Flags, length: int) -> Floats:
    total: Floats = np.bincount(index, amount, length).astype(float)
    return total


register(DataParallel())
