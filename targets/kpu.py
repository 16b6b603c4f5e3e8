"""Stillwater KPU T256: domain-flow tiles of an unbuilt machine. Every number is design intent and marked as assumed.

Results stream out of the fabric through whatever consumes them element by element or row by row: bias, activation, normalisation,
residual addition, softmax, pooling windows and (de)quantisation fuse with the contraction and cost no DRAM access of their own.
Weights stay in the tiles' L3 when the network fits. Across public revisions the int8 peak moved 30-fold and energy per
operation as much: compare intervals, not values.
"""

from __future__ import annotations

from edpc.target import (
    ACTIVATION,
    CONTRACTION,
    ELEMENTWISE,
    NORMALIZATION,
    POOLING,
    QUANTIZATION,
    RECURRENT,
    REDUCTION,
    SOFTMAX,
    VIEW,
    Basis,
    Guard,
    Memory,
    Modifier,
    Precision,
    Quantity,
    Rule,
    Setting,
    Target,
    Unit,
    assumed,
    many,
    maybe,
    one,
    some,
)

CATALOGUE = "design intent, embodied-schemas 0.24.0 catalogue"
REVISIONS = f"{CATALOGUE}; T256 int8 peaks of public revisions: 9.8, 33.8, 50, 65.5, 196, 287, 426, 734 and 314.6 TOP/s"
ENERGIES = f"{CATALOGUE}; fp32 energies of public revisions: 0.09 to 2.7 pJ/FLOP"
OURS = "not published; our assumption:"


def design(value: float, unit: str, low: float, high: float, source: str = CATALOGUE) -> Quantity:
    """A figure of the design, or our guess at one, with the range of what it may become."""
    return assumed(value, unit, low, high, source)


def given(value: float, unit: str) -> Quantity:
    """A count or size of the design as published, taken as it stands."""
    return Quantity(value, unit, Basis.ASSUMED, CATALOGUE)


def peak(value: float) -> Quantity:
    """A peak rate at the default profile: as low as a 32nd and as high as 2.33 times it in other revisions."""
    return design(value, "FLOP/s", value / 32.1, value * 2.334, REVISIONS)


def per_mac(energy: float) -> Quantity:
    """Energy per operation from the energy of a multiply-accumulate, half of it, over the revisions' range."""
    return design(energy / 2.0, "J/FLOP", energy / 30.0, energy, ENERGIES)


def level(name: str, role: str, capacity: float, bandwidth: float, read: float, write: float) -> Memory:
    """A level of the on-chip hierarchy: all tiles together; energies in J/B."""
    return Memory(
        name,
        role,
        given(capacity, "B"),
        design(
            bandwidth, "B/s", bandwidth / 8.0, bandwidth * 2.0, f"{OURS} 64 B a cycle and tile, what a tile's edges take at int8"
        ),
        design(read, "J/B", read / 2.0, read * 3.0),
        design(write, "J/B", write / 2.0, write * 3.0),
    )


def tile(name: str, count: int, rows: int, columns: int, **operations: int) -> dict[str, Quantity]:
    """Parameters of one kind of tile; `operations` are those of a cycle and tile, by precision."""
    shape = {"count": count, "rows": rows, "columns": columns, **operations}
    return {f"tile.{name}.{part}": given(value, "1") for part, value in shape.items()}


def runtime(tiles: int, fill: int, drain: int, **profiles: tuple[float, float]) -> dict[str, Quantity]:
    """Parameters that all KPUs share in kind; profiles are (clock in Hz, thermal design power in W)."""
    return {
        "fabric.fill": given(fill, "1"),
        "fabric.drain": given(drain, "1"),
        "resident.fraction": design(0.8, "1", 0.5, 0.95, f"{OURS} the rest holds activations and staging"),
        "llc.warm_fraction": design(0.2, "1", 0.05, 0.5, f"{OURS} what resident weights leave of L3"),
        "l2.tile_capacity": given(32 * 2**10, "B"),
        "program.time": design(1e-6, "s", 0.1e-6, 10e-6, f"{OURS} a few KiB broadcast to every tile"),
        "program.energy": design(75e-12 * tiles, "J", 50e-12 * tiles, 100e-12 * tiles, f"{CATALOGUE}: 50 to 100 pJ per tile"),
        "setup.time": design(0.2e-6, "s", 0.05e-6, 1e-6, f"{OURS} descriptors of DMA engines, block movers and streamers"),
        "dram.efficiency": design(0.9, "1", 0.7, 1.0, f"{OURS} long software-scheduled streams"),
        **{f"profile.{name}": given(clock, "Hz") for name, (clock, _) in profiles.items()},
        **{f"tdp.{name}": given(watts, "W") for name, (_, watts) in profiles.items()},
    }


def mesh(side_a: int, side_b: int, flit: float, bandwidth: float) -> dict[str, Quantity]:
    """Parameters of the on-chip network; hops are the mean between two random tiles, a third of the sides' sum."""
    hops = (side_a + side_b) / 3.0
    return {
        "noc.flit": given(flit, "B"),
        "noc.hops": design(hops, "1", 1.0, side_a + side_b, f"{OURS} mean distance between random tiles"),
        "noc.energy": design(0.5e-12, "J", 0.1e-12, 1.5e-12),
        "noc.bandwidth": design(bandwidth, "B/s", bandwidth / 2.0, bandwidth * 4.0),
    }


# --- units and memories -------------------------------------------------------------------------------------------------------

MATRIX = Unit(
    "matrix",
    rate={"int4": peak(439.9e12), "int8": peak(314.6e12), "bf16": peak(157.3e12), "fp32": peak(15.67e12)},
    energy={"int4": per_mac(0.15e-12), "int8": per_mac(0.30e-12), "bf16": per_mac(0.622e-12), "fp32": per_mac(2.7e-12)},
)
VECTOR = Unit(
    "vector",
    rate={"int8": peak(157.3e12), "bf16": peak(78.6e12), "fp32": peak(7.83e12)},
    energy={"int8": per_mac(0.30e-12), "bf16": per_mac(0.622e-12), "fp32": per_mac(2.7e-12)},
)
SPECIAL = Unit(
    "special",
    rate={"bf16": peak(9.8e12), "fp32": peak(0.98e12)},
    energy={"bf16": per_mac(5e-12), "fp32": per_mac(21.6e-12)},
)
L1 = level("l1", "local", 256 * 4 * 2**10, 9.83e12, 0.3e-12, 0.4e-12)
L2 = level("l2", "middle", 256 * 32 * 2**10, 9.83e12, 0.8e-12, 1.0e-12)
L3 = level("l3", "llc", 256 * 256 * 2**10, 9.83e12, 2.0e-12, 2.5e-12)
DRAM = Memory(
    "lpddr5",
    "dram",
    given(32e9, "B"),
    design(256e9, "B/s", 128e9, 512e9),
    design(10e-12, "J/B", 8e-12, 40e-12, f"{CATALOGUE}: 1.25 pJ/bit, of which published devices take three to four times"),
    design(12e-12, "J/B", 9.6e-12, 48e-12, f"{CATALOGUE}: 1.2 times a read"),
)

# --- what runs as one program -------------------------------------------------------------------------------------------------

PER_TOKEN = frozenset({"quantize_dynamic"})
STREAMED = (ELEMENTWISE | QUANTIZATION | NORMALIZATION | SOFTMAX | POOLING) - PER_TOKEN
ADDRESSED = frozenset({"transpose", "slice", "split", "concat", "pad", "expand"})
ALONE, ROW = Guard("single-use"), Guard("row-fits", "l2")

RULES = (
    Rule(
        "stream-out",
        (one(CONTRACTION | RECURRENT), many(STREAMED | {"transpose", "split", "slice"}, ALONE, ROW), maybe(PER_TOKEN, ROW)),
        "gemm",
        why="results drain from the fabric through the recurrences that consume them: bias, activation, residual, normalisation "
        "and softmax over rows held in L2, pooling over windows held in L2; nothing returns to DRAM in between. Streamers "
        "address memory in any order, so operands and results are permuted, cut, joined, scaled and converted as they pass; "
        "a stream may be written out and quantised per token as it goes on",
        prologue=frozenset({"dequantize", "quantize", "cast", "mul", "div"}) | ADDRESSED,
    ),
    Rule(
        "stream",
        (one(STREAMED | PER_TOKEN, ROW), many(STREAMED | REDUCTION, ALONE, ROW), maybe(PER_TOKEN, ROW)),
        "vector",
        why="consecutive recurrences on one stream are one program: one read, one write, in any order of addresses",
        prologue=ELEMENTWISE | ADDRESSED,
    ),
    Rule("copy", (some(ADDRESSED, ALONE),), "movement", (), "copies of copies are one stream"),
)

MODIFIERS = (
    Modifier("linear, conv, matmul", CONTRACTION | RECURRENT, 1.0, 1.0),
    Modifier("bias", frozenset({"bias"}), 0.05, 1.0),
    Modifier("relu", frozenset({"relu"}), 0.05, 1.0),
    Modifier("gelu, sigmoid, tanh", ACTIVATION - {"relu"}, 0.1, 1.2),
    Modifier("add", frozenset({"add"}), 0.2, 1.0),
    Modifier("normalisation", NORMALIZATION, 0.1, 1.5),
    Modifier("pooling", POOLING, 0.8, 1.0),
    Modifier("softmax", SOFTMAX, 1.5, 2.0),
    Modifier("view, reshape, transpose", VIEW | {"transpose"}, 0.01, 0.05),
)

PRECISIONS = {
    "fp32": Precision(
        "fp32", "fp32", "fp32", "fp32", "fp32", "fp32 runs on the BF16 tiles only, at a twentieth of the int8 peak"
    ),
    "tf32": Precision("fp32", "fp32", "fp32", "fp32", "fp32", "no tf32 on a KPU: served as fp32"),
    "bf16": Precision("bf16", "bf16", "bf16", "bf16", "bf16"),
    "fp16": Precision("bf16", "bf16", "bf16", "bf16", "bf16", "no fp16 on a KPU: served as bf16, the same width"),
    "fp8": Precision("int8", "bf16", "int8", "int8", "bf16", "no fp8 on a KPU: served as int8, the 8-bit format it multiplies"),
    "int8": Precision("int8", "bf16", "int8", "int8", "bf16"),
}
SETTINGS = {
    "profile": Setting("default", ("low", "default", "high"), "power profile: scales every clock but the DRAM's"),
    "residency": Setting(
        "off",
        ("off", "on"),
        "on: results whose readers all find them in L3 are not written to DRAM; off: all results are",
    ),
}
NOTES = (
    "KPU figures are the design intent of an unbuilt machine; see the intervals.",
    "At its peak rates a KPU would draw twice its stated power: kernels that would are slowed down to it, and say so.",
)

TARGET = Target(
    name="kpu",
    summary="KPU T256 (design intent): 256 domain-flow tiles of 32 x 32, 32 GB LPDDR5",
    architecture="domain-flow",
    units=(MATRIX, VECTOR, SPECIAL),
    memories=(L1, L2, L3, DRAM),
    static_power=design(1.79, "W", 0.9, 9.0, f"{CATALOGUE}: idle; an earlier revision had 9 W"),
    parameters={
        **tile("int8", 179, 32, 32, int4=4096, int8=2048, bf16=1024),
        **tile("bf16", 51, 32, 32, int8=2048, bf16=1024, fp32=512),
        **tile("matrix", 26, 32, 32, int8=2048, bf16=1024),
        **runtime(256, 32, 32, low=(450e6, 10.7), default=(600e6, 20.9), high=(700e6, 34.3)),
        **mesh(16, 16, 16, 256e9),
    },
    settings=SETTINGS,
    precisions=PRECISIONS,
    rules=RULES,
    modifiers=MODIFIERS,
    notes=NOTES,
)
