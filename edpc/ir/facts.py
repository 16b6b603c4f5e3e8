"""Facts: typed records that passes hang on operators and groups. Times in seconds, energies in joules."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Contraction:
    """An iteration space of multiply-accumulates: `steps` runs in sequence of `batch` products of [m, k] by [k, n].

    A convolution is batch = groups, m = images * output pixels, n = filters per group, k = kernel volume * channels per group.
    """

    batch: int
    m: int
    n: int
    k: int
    steps: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all steps."""
        return self.steps * self.batch * self.m * self.n * self.k


@dataclass(frozen=True, slots=True)
class Work:
    """What an operator computes and touches, whatever the machine.

    Attributes:
        macs: multiply-accumulates of matmuls and convolutions.
        vector_ops: other arithmetic, comparisons and conversions, one each.
        transcendentals: exponentials, logarithms, roots, trigonometric functions, one each.
        reads: bytes touched per operand slot.
        writes: bytes produced per result.
        precision: arithmetic format (`fp32`, `bf16`, `int8`, ...), which decides the rate of the unit.
        contractions: iteration spaces of the multiply-accumulates; their `macs` sum to `macs`.
        rows, cols: of a row-wise operator (softmax, normalisation, reduction); cols is the reduced length.
        exact: False where an unknown dimension was counted as one.
    """

    macs: int
    vector_ops: int
    transcendentals: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    precision: str
    contractions: tuple[Contraction, ...] = ()
    rows: int = 0
    cols: int = 0
    exact: bool = True

    @property
    def flops(self) -> int:
        """Arithmetic of every kind: a MAC is two, anything else one."""
        return 2 * self.macs + self.vector_ops + self.transcendentals


@dataclass(frozen=True, slots=True)
class Cost:
    """Latency and energy by component; what a part is charged, so that parts sum to the whole."""

    compute_s: float = 0.0
    memory_s: float = 0.0
    overhead_s: float = 0.0
    compute_j: float = 0.0
    on_chip_j: float = 0.0
    dram_j: float = 0.0
    static_j: float = 0.0
    overhead_j: float = 0.0
    dram_bytes: float = 0.0

    @property
    def latency_s(self) -> float:
        """Sum of the latency components."""
        return self.compute_s + self.memory_s + self.overhead_s

    @property
    def energy_j(self) -> float:
        """Sum of the energy components."""
        return self.compute_j + self.on_chip_j + self.dram_j + self.static_j + self.overhead_j

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)))


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unit of execution as the machine runs it.

    Attributes:
        cost: sum over its operators.
        bound: the binding resource: `compute`, `memory`, `overhead`, or `none` for a kernel that runs nothing.
        utilization: achieved over peak rate of the unit that does most of its arithmetic.
        dram_accesses: activation tensors that cross the kernel's border, reads plus writes; parameters are not counted.
        launches: kernel launches, program loads or node dispatches.
        notes: what the machine would say of it (tile, clock fraction, power-capped, ...), in plain words.
    """

    cost: Cost
    bound: str
    utilization: float
    dram_accesses: int
    launches: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """What of the model's EDP an operator is charged, in J*s, under each attribution method.

    Attributes:
        events: by counted events (the Aumann-Shapley share of the operator's own cost).
        flops: its subgraph's EDP in proportion to FLOPs (base EDP).
        modifiers: base EDP times the declared modifier, normalised to the subgraph.
        modifier: the declared architectural modifier that was applied.
        fusion_benefit: EDP saved by fusing it; None where it is not fused.
    """

    events: float
    flops: float
    modifiers: float
    modifier: float
    fusion_benefit: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a fusion rule stopped short of an operator."""

    rule: str
    operator: str
    guard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """Operators that the target runs as one unit: a subgraph of the report. Groups partition the operators and are convex.

    Attributes:
        name: unique in the graph, `g0`, `g1`, ... in order of execution.
        rule: the fusion rule that formed it, or `separate` for an operator on its own.
        kernel_class: which cost form the machine uses (`gemm`, `conv`, `attention`, `vector`, `reduction`, `none`, ...).
        members: operator names in execution order.
        refusals: what stopped it from growing.
        kernel: its cost, once annotated.
    """

    name: str
    rule: str
    kernel_class: str
    members: tuple[str, ...]
    refusals: tuple[Refusal, ...] = ()
    kernel: Kernel | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Where the graph came from and what importing it did.

    Attributes:
        format: `onnx`, `fx`, `block`, `hf` or `edp`.
        source: file name or identifier as the user gave it.
        batch: the leading dimension the network is served with.
        parameters: number of parameter elements, each unique tensor once.
        notes: coverage notes in plain words (what was folded, assumed or not modelled).
        precision: what the network is served in (`bf16`, `int8`, ...); empty until that is decided.
        phase: `prefill` or `decode` of a network that generates text; empty for others.
        past: tokens in its cache before the run.
        tokens: tokens of the whole batch that a run reads (prefill) or adds (decode); 0 where they are not counted.
    """

    format: str = "edp"
    source: str = ""
    batch: int = 1
    parameters: int = 0
    notes: tuple[str, ...] = ()
    precision: str = ""
    phase: str = ""
    past: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Elasticity:
    """By how many per cent the totals change when a constant of the machine grows by one, the compiler's choices kept.

    Attributes:
        constant: its name as `--set` takes it. basis: how it is known (`datasheet`, `measured`, `literature`, `assumed`).
        energy, latency: d ln(total) / d ln(constant); that of the EDP is their sum.
    """

    constant: str
    basis: str
    energy: float
    latency: float

    @property
    def edp(self) -> float:
        """Elasticity of the energy-delay product."""
        return self.energy + self.latency


@dataclass(frozen=True, slots=True)
class Estimate:
    """How the costs of a graph were arrived at, and how sure they are.

    Attributes:
        target: name of the target.
        architecture: cost model class.
        precision: the precision the network is served in.
        energy_j, latency_s, edp_js: 90 % intervals [lo, hi] of the totals under the constants' ranges.
        assumed_fraction: share of the EDP's sensitivity that rests on constants marked as assumed.
        notes: what the report must say (precision mapped, clocks, settings).
        elasticities: of the totals to every constant that is not zero, in the target's order; a count of parts of the machine
            (rows, tiles) is left out where the cost model knows no fraction of a part.
        draws: (energy_j, latency_s) of random machines within the constants' ranges, which the intervals come from.
            Neither is written as text: both follow from the rest.
    """

    target: str
    architecture: str
    precision: str
    energy_j: tuple[float, float]
    latency_s: tuple[float, float]
    edp_js: tuple[float, float]
    assumed_fraction: float
    notes: tuple[str, ...] = ()
    elasticities: tuple[Elasticity, ...] = field(default=(), compare=False, repr=False)
    draws: tuple[tuple[float, float], ...] = field(default=(), compare=False, repr=False)
