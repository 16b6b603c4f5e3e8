"""A domain-flow machine (KPU): tiles of processing elements that execute systems of affine recurrences.

Results grow in place, block by block, while operands stream DRAM -> L3 -> L2 -> L1 -> fabric through software-managed buffers.
T = program load + set-up + max(compute, memory): streamers and fabric run side by side.

* Compute: `domain_forms.tile_cycles` of the busiest tile. Only tiles that support the precision take part: all of them with
  blocks in proportion to their speed, or the best single kind where that is faster. The clock follows from the peak rate and the
  tiles' operations per cycle. Elementwise work streams through on the way out and hides behind the products.
* Memory: the longest of DRAM, L3 and the mesh, of whose traffic half crosses the bisection.
* Weights stay on chip when the whole network's fit a fraction of L3, and then never come from DRAM. Otherwise they stream once
  per kernel; a kernel whose weights outgrow the fraction runs in passes, each of which reads its activations again.
* Streams: a block reads its operands' panels through L2 and L1 every time. From L3 the cheaper panel that fits half of L2 is
  read once, the other once per block; both once per block where neither fits.
* A result goes to L3 and to DRAM; with the switch `residency=on` only to L3 where all its readers find it there.
* Power: a kernel whose counted energy would exceed the thermal design power of the profile is stretched until it meets it,
  T = E_dynamic / (TDP - P_static); its clocks yield, set-up does not.
* A change of operator kinds from one kernel to the next loads a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edpc.errors import UsageError
from edpc.ir import Operator
from edpc.machine import domain_forms as forms
from edpc.machine.account import element_bytes, power_notes, power_stretch, setting, settle, written_off_chip
from edpc.machine.compose import compose, kernel_sum
from edpc.machine.model import Constants, CostModel, register
from edpc.machine.rates import arithmetic_energy, per_row, served_as, unit_of, utilization
from edpc.machine.systolic_forms import output_stationary
from edpc.machine.table import CostColumns, Flags, Floats, KernelTable
from edpc.operators import Family
from edpc.target import Target


@dataclass(frozen=True, slots=True)
class TileKind:
    """One kind of tile: how many there are, its mesh of elements, and operations per cycle and tile by precision."""

    name: str
    count: float
    rows: float
    columns: float
    operations: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Streams:
    """What a table looks like to the fabric, whatever the rates.

    Per operator, shape (n,): `seconds_at_unit_rate`: time of the products at a peak of one operation a second; `block_bytes`:
    operand panels into the fabric; `l3_bytes`: the same out of L3; `footprint`: bytes its weights occupy when resident;
    `multiplies`: whether it has products.
    Per kernel, shape (g,): `loads`: program loads.
    """

    seconds_at_unit_rate: Floats
    block_bytes: Floats
    l3_bytes: Floats
    footprint: Floats
    multiplies: Flags
    loads: Floats


def tile_kinds(constants: Mapping[str, float]) -> tuple[TileKind, ...]:
    """The tiles that a target's parameters `tile.KIND.count`, `.rows`, `.columns` and `.PRECISION` describe."""
    names = [key.split(".")[1] for key in constants if key.startswith("tile.") and key.endswith(".count")]
    kinds = []
    for name in names:
        own = {key.rsplit(".", 1)[1]: value for key, value in constants.items() if key.startswith(f"tile.{name}.")}
        mesh = own.pop("count"), own.pop("rows"), own.pop("columns")
        kinds.append(TileKind(name, *mesh, own))
    return tuple(kinds)


def peak_operations(kinds: tuple[TileKind, ...], precision: str) -> float:
    """Operations per cycle of all tiles that support the precision."""
    return sum(kind.count * kind.operations.get(precision, 0.0) for kind in kinds)


class DomainFlow(CostModel):
    """Tiles of processing elements that execute recurrences on streams."""

    architecture: ClassVar[str] = "domain-flow"
    parameters: ClassVar[Mapping[str, tuple[str, str]]] = {
        "fabric.fill": ("1", "cycles until the last row of a tile has its first operands"),
        "fabric.drain": ("1", "cycles in which results leave a tile"),
        "resident.fraction": ("1", "part of L3 that may hold weights"),
        "program.time": ("s", "load of a program when the operator kind changes"),
        "program.energy": ("J", "load of a program, all tiles together"),
        "setup.time": ("s", "descriptors of the streamers, per kernel"),
        "noc.flit": ("B", "width of a flit of the mesh"),
        "noc.hops": ("1", "mean hops of a flit"),
        "noc.energy": ("J", "one flit over one hop"),
        "noc.bandwidth": ("B/s", "bisection bandwidth of the mesh"),
        "dram.efficiency": ("1", "fraction of the off-chip bandwidth that streams reach"),
        "profile.low": ("Hz", "clock of the low power profile"),
        "profile.default": ("Hz", "clock of the default power profile, at which the rates hold"),
        "profile.high": ("Hz", "clock of the high power profile"),
        "tdp.low": ("W", "thermal design power of the low power profile"),
        "tdp.default": ("W", "thermal design power of the default power profile"),
        "tdp.high": ("W", "thermal design power of the high power profile"),
    }

    def check(self, target: Target) -> None:
        """As the base class, and every precision of the matrix unit must have a tile that supports it."""
        super().check(target)
        kinds = tile_kinds(target.constants())
        for precision in unit_of(target, "matrix").rate:
            if peak_operations(kinds, precision) <= 0.0:
                raise UsageError(
                    f"target {target.name}: no tile supports {precision}, which the matrix unit has a rate for; "
                    f"add tile.KIND.count, .rows, .columns and .{precision}"
                )

    def plan(self, table: KernelTable, target: Target) -> Streams:
        """Blocks, tiles and streams from shapes and the machine's geometry."""
        constants = target.constants()
        external = table.weight_bytes + table.cold_bytes + table.warm_bytes
        unit_seconds, blocks, l3 = _contractions(table, target, constants)
        has_products = np.bincount(table.owner, minlength=len(table.names)) > 0
        return Streams(
            seconds_at_unit_rate=unit_seconds,
            block_bytes=np.where(has_products, blocks, external),
            l3_bytes=np.where(has_products, l3, external),
            multiplies=has_products,
            footprint=np.array(
                [
                    _footprint(op, family, w)
                    for op, family, w in zip(table.operators, table.family, table.weight_bytes, strict=True)
                ]
            ),
            loads=_program_loads(table),
        )

    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Any) -> CostColumns:
        """Costs at these constants; see the module's first lines."""
        streams: Streams = plan
        tempo = constants["profile." + setting(target, "profile", "default")] / np.asarray(constants["profile.default"])
        room = constants["resident.fraction"] * np.asarray(constants["llc.capacity"])
        resident = streams.footprint.sum() <= room
        passes = np.maximum(np.ceil(kernel_sum(table, table.weight_bytes) / np.maximum(room, 1.0)), 1.0)
        # Passes cut the results' columns: only what the products read is read again, not what joins the results.
        passes = np.where(streams.multiplies & ~resident, passes[..., table.kernel], 1.0)
        fetched = np.where(resident, 0.0, table.weight_bytes) + table.cold_bytes * passes
        written, stored = table.write_bytes, written_off_chip(table, target)

        rate = per_row(target, constants, "matrix", "rate", table.precision) * tempo
        products_s = streams.seconds_at_unit_rate / rate
        vector_s = (
            table.vector_ops / per_row(target, constants, "vector", "rate", table.precision)
            + table.transcendentals / per_row(target, constants, "special", "rate", table.precision)
        ) / tempo
        products_g, vector_g = kernel_sum(table, products_s), kernel_sum(table, vector_s)
        compute_g = np.maximum(products_g, vector_g)
        op_compute = np.where((products_g >= vector_g)[..., table.kernel], products_s, vector_s)

        external = table.weight_bytes + (table.cold_bytes + table.warm_bytes) * passes
        l3_reads = np.maximum(streams.l3_bytes, external)
        uses = (
            (fetched + stored) / (constants["dram.bandwidth"] * constants["dram.efficiency"]),
            (l3_reads + fetched + 2.0 * written) / (constants["llc.bandwidth"] * tempo),
            0.5 * (external + written) / (constants["noc.bandwidth"] * tempo),
        )
        sums = [kernel_sum(table, use) for use in uses]
        memory_g = np.maximum(np.maximum(sums[0], sums[1]), sums[2])
        binding = [np.asarray(s >= memory_g)[..., table.kernel] for s in sums]
        op_memory = np.where(binding[0], uses[0], np.where(binding[1], uses[1], uses[2]))

        overhead_g = streams.loads * constants["program.time"] + table.launches * constants["setup.time"]
        latency = compose(table, compute_g, memory_g, overhead_g, np.inf, op_compute, op_memory)
        program_j = streams.loads * constants["program.energy"]
        busy = np.where(table.free, 0.0, 1.0)
        members = np.maximum(kernel_sum(table, busy), 1.0)
        energies = {
            "compute_j": arithmetic_energy(table, target, constants),
            "on_chip_j": _on_chip_energy(table, constants, streams, fetched, l3_reads),
            "dram_j": fetched * constants["dram.read_energy"] + stored * constants["dram.write_energy"],
            "overhead_j": (program_j / members)[..., table.kernel] * busy,
        }
        dynamic = kernel_sum(table, sum(energies.values(), start=np.zeros(1)))
        limit = constants["tdp." + setting(target, "profile", "default")]
        stretch = power_stretch(latency.total, overhead_g, dynamic, limit, constants["static_power"])
        by_operator = stretch[..., table.kernel]
        total = overhead_g + (latency.total - overhead_g) * stretch
        return settle(
            table,
            {
                "compute_s": latency.compute_s * by_operator,
                "memory_s": latency.memory_s * by_operator,
                "overhead_s": latency.overhead_s,
                "dram_bytes": fetched + stored,
                **energies,
            },
            {
                "busy_compute_s": compute_g * stretch,
                "busy_memory_s": memory_g * stretch,
                "utilization": utilization(table, target, constants, total),
            },
            power_notes(stretch),
        )


def _contractions(table: KernelTable, target: Target, constants: Mapping[str, float]) -> tuple[Floats, Floats, Floats]:
    """Per operator: time of the products at a rate of one operation a second, panel bytes into the fabric, bytes out of L3."""
    kinds = tile_kinds(constants)
    unit = unit_of(target, "matrix")
    length = len(table.names)
    # A depthwise convolution is a recurrence of its own: channels take the place of filters and share no operand.
    depthwise: Flags = (table.n == 1.0) & (table.batch > 1.0) & (table.m > 1.0)
    n = np.where(depthwise, table.batch, table.n)
    products = np.where(depthwise, 1.0, table.batch) * table.steps
    served = np.array([served_as(unit, str(p)) for p in table.precision[table.owner]], str)
    seconds, blocks, l3 = (np.zeros(len(table.owner)) for _ in range(3))
    for precision in dict.fromkeys(served.tolist()):
        rows = np.flatnonzero(served == precision)
        shapes = np.stack([table.m[rows], n[rows], table.k[rows], products[rows] / table.steps[rows], depthwise[rows]], axis=1)
        unique, inverse = np.unique(shapes, axis=0, return_inverse=True)
        able = [kind for kind in kinds if kind.operations.get(precision, 0.0) > 0.0]
        peak = peak_operations(kinds, precision)
        cycles = _cycles(unique, able, precision, constants)
        seconds[rows] = cycles[inverse] * table.steps[rows] * peak
        panels, fetched = _panels(unique, able[0], constants["middle.capacity"], element_bytes(np.array([precision]))[0])
        blocks[rows] = panels[inverse] * table.steps[rows]
        l3[rows] = fetched[inverse] * table.steps[rows]

    def per_operator(figure: Floats) -> Floats:
        return np.bincount(table.owner, figure, length).astype(float)

    return per_operator(seconds), per_operator(blocks), per_operator(l3)


def _cycles(shapes: Floats, able: list[TileKind], precision: str, constants: Mapping[str, float]) -> Floats:
    """Cycles of products (columns m, n, k, batch) on the tiles able to run them, however they are best dealt out."""
    m, n, k, batch, _ = shapes.T
    fill, drain = constants["fabric.fill"], constants["fabric.drain"]
    peak = sum(kind.count * kind.operations[precision] for kind in able)
    alone, together = [], np.zeros(len(shapes))
    for kind in able:
        total = np.ceil(m / kind.rows) * np.ceil(n / kind.columns) * batch
        steady = forms.steady_cycles(k, kind.rows, kind.columns, kind.operations[precision])
        alone.append(forms.tile_cycles(np.ceil(total / kind.count), steady, fill, drain))
        # A kind takes its part of the peak of all blocks; whole numbers up to the one division, which is then exact.
        share = np.ceil(total * kind.operations[precision] / peak)
        together = np.maximum(together, forms.tile_cycles(share, steady, fill, drain))
    if len({(kind.rows, kind.columns, kind.operations[precision]) for kind in able}) == 1:
        # Tiles of one shape and speed are one pool, whatever they are called.
        total = np.ceil(m / able[0].rows) * np.ceil(n / able[0].columns) * batch
        steady = forms.steady_cycles(k, able[0].rows, able[0].columns, able[0].operations[precision])
        together = forms.tile_cycles(np.ceil(total / sum(kind.count for kind in able)), steady, fill, drain)
    best: Floats = np.min(np.stack([*alone, together]), axis=0)
    return best


def _panels(shapes: Floats, kind: TileKind, l2_bytes: float, width: float) -> tuple[Floats, Floats]:
    """Bytes of operand panels that enter the fabric, and bytes that leave L3 for them, per product."""
    m, n, k, batch, depthwise = shapes.T
    run = output_stationary(m, n, k, kind.rows, kind.columns)
    # Channels of a depthwise convolution share nothing: every result has its own operand, every channel its own weights.
    a_once, w_once = np.where(depthwise > 0.0, m * n * k, m * k), k * n
    a_each = np.where(depthwise > 0.0, m * n * k, run.a_reads)
    fits_a, fits_w = (side * k * width <= l2_bytes / 2.0 for side in (kind.rows, kind.columns))
    keep_a = np.where(fits_a, a_once, a_each) + run.w_reads
    keep_w = a_each + np.where(fits_w, w_once, run.w_reads)
    return (a_each + run.w_reads) * batch * width, np.minimum(keep_a, keep_w) * batch * width


def _footprint(op: Operator, family: str, weight_bytes: float) -> float:
    """Bytes that must lie on chip for an operator to find its weights there: of a table that is looked up, all of it."""
    if family == Family.GATHER.value and weight_bytes > 0.0 and op.inputs:
        return float(max(op.inputs[0].num_bytes, weight_bytes))
    return float(weight_bytes)


def _program_loads(table: KernelTable) -> Floats:
    """How often each kernel loads its program: at every launch unless the kernel that ran before it had the same operators."""
    programs: list[list[str]] = [[] for _ in table.group]
    for kind, kernel, free in zip(table.kind.tolist(), table.kernel.tolist(), table.free.tolist(), strict=True):
        if not free:
            programs[kernel].append(kind)
    loads = np.zeros(len(table.group))
    before: list[str] = []
    for kernel, program in enumerate(programs):
        if program:
            loads[kernel] = table.launches[kernel] if program != before else 0.0
            before = program
    return loads


def _on_chip_energy(table: KernelTable, constants: Constants, streams: Streams, fetched: Floats, l3_reads: Floats) -> Floats:
    """Accesses of L3, L2, L1 and the mesh by every operator, in J."""
    written = table.write_bytes
    into_fabric = np.maximum(streams.block_bytes, l3_reads)
    flits = (l3_reads + written) / constants["noc.flit"]
    l1 = into_fabric + written + 0.5 * table.on_chip_bytes
    energy: Floats = (
        (l3_reads + written) * constants["llc.read_energy"]
        + (fetched + written) * constants["llc.write_energy"]
        + (into_fabric + written) * constants["middle.read_energy"]
        + (l3_reads + written) * constants["middle.write_energy"]
        + l1 * (constants["local.read_energy"] + constants["local.write_energy"])
        + flits * constants["noc.hops"] * constants["noc.energy"]
    )
    return energy


register(DomainFlow())
