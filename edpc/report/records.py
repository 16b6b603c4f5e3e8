"""Records of `edpc/report-v1`. Field names, order and nesting are the JSON's; every number is SI and unrounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from edpc.ir import Graph
from edpc.target import Target

Attribution = Literal["events", "flops", "modifiers"]
Metric = Literal["edp", "energy", "latency", "ed2p"]
Phase = Literal["prefill", "decode"]
Range = tuple[float, float]

# Exponents (a, b) of E^a * T^b; the share of a part is (a*E_i/E + b*T_i/T) / (a + b).
EXPONENTS: dict[Metric, tuple[int, int]] = {"edp": (1, 1), "energy": (1, 0), "latency": (0, 1), "ed2p": (1, 2)}
TITLES: dict[Metric, str] = {"edp": "EDP", "energy": "energy", "latency": "latency", "ed2p": "ED2P"}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all records: immutable, and a field that the schema does not know is refused when reading."""


class ModelInput(Record, frozen=True):
    """An input of the network; a dimension that depends on data is null, a shape of unknown rank is null as a whole."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str


class Model(Record, frozen=True):
    """The network: operators (views included), FLOPs of every kind, MACs of matmuls and convolutions, unique parameters."""

    name: str
    format: str
    inputs: tuple[ModelInput, ...]
    num_operators: int
    flops: int
    macs: int
    parameters: int


class TargetReport(Record, frozen=True):
    """The machine, the precision the network is served in, and the batch."""

    name: str
    architecture: str
    precision: str
    batch: int


class EnergyByComponent(Record, frozen=True):
    """Joules; sum to the energy."""

    compute: float
    on_chip: float
    dram: float
    static: float
    overhead: float


class LatencyByComponent(Record, frozen=True):
    """Seconds by binding resource; sum to the latency."""

    compute: float
    memory: float
    overhead: float


class Interval(Record, frozen=True):
    """90 % intervals of the totals under the ranges of the target's constants."""

    energy_j: Range
    latency_s: Range
    edp_js: Range


class Totals(Record, frozen=True):
    """The whole: energy_j is the sum over subgraphs and over operators, latency_s likewise, edp_js their product."""

    energy_j: float
    latency_s: float
    edp_js: float
    average_power_w: float
    dram_bytes: float
    dram_accesses: int
    launches: int
    energy_by_component: EnergyByComponent
    latency_by_component: LatencyByComponent
    interval: Interval
    assumed_fraction: float


class Serving(Record, frozen=True):
    """What a token costs, of a network that generates text.

    A run reads (prefill) or adds (decode) `tokens` tokens of the whole batch, after `past` tokens of each sequence. Energy and
    latency per token are those of the run over its tokens: in decode a sequence waits the latency of the run for its next ones.
    """

    phase: Phase
    past: int
    tokens: int
    energy_j_per_token: float
    latency_s_per_token: float


class Execution(Record, frozen=True):
    """What running the network one way costs; dram_accesses counts activation tensors, reads plus writes."""

    energy_j: float
    latency_s: float
    edp_js: float
    dram_accesses: int
    launches: int
    dram_bytes: float


class ByCause(Record, frozen=True):
    """EDP saved by fusion, by cause; sums to `saved.edp_js`.

    With d for separate minus fused and Tm, Em the means of both latencies and energies, saved EDP is dE*Tm + dT*Em. DRAM
    energy and static energy are their parts of dE*Tm, launch overhead its parts of both, and the rest is other.
    """

    dram_energy: float
    static_energy: float
    launch_overhead: float
    other: float


class Saved(Record, frozen=True):
    """Separate minus fused, of the model or of one subgraph; what subgraphs save sums to what the model saves."""

    energy_j: float
    latency_s: float
    edp_js: float
    dram_accesses: int
    launches: int
    dram_bytes: float
    by_cause: ByCause


class Fusion(Record, frozen=True):
    """The same network on the same target, fused as its rules say and with every operator a kernel of its own."""

    fused: Execution
    separate: Execution
    saved: Saved


class SubgraphReport(Record, frozen=True):
    """One fused unit of execution.

    edp_js is its share of E*T, (E_i/E + T_i/T)/2 * E*T; the four component EDPs sum to it. standalone_edp_js is E_i*T_i and
    does not sum to the model. arithmetic_intensity is FLOPs per DRAM byte, null where no DRAM is touched. saved is what its
    operators would cost more as kernels of their own, were nothing fused. notes are what the machine says of the kernel: the
    tile it chose, a power limit that holds it back, padding.
    """

    id: str
    name: str
    fusion_pattern: str
    num_operators: int
    operators: tuple[str, ...]
    energy_j: float
    latency_s: float
    standalone_edp_js: float
    edp_js: float
    edp_fraction: float
    energy_fraction: float
    latency_fraction: float
    compute_edp: float
    memory_edp: float
    static_edp: float
    overhead_edp: float
    bottleneck: str
    arithmetic_intensity: float | None
    utilization: float
    saved: Saved
    notes: tuple[str, ...]


class OperatorReport(Record, frozen=True):
    """One operator of the network.

    edp_js follows the report's attribution; event_edp, base_edp and architectural_edp are always the events, flops and
    modifiers method. modelled_modifier is event_edp / base_edp, null where the base is zero. fusion_benefit is null where the
    operator is not fused. module_path is the dotted path of the module that holds it, empty where the model does not say.
    """

    operator_id: str
    operator_type: str
    source_name: str
    module_path: str
    subgraph_id: str
    flops: int
    macs: int
    bytes_read: int
    bytes_written: int
    energy_j: float
    latency_s: float
    edp_js: float
    event_edp: float
    base_edp: float
    architectural_modifier: float
    modelled_modifier: float | None
    architectural_edp: float
    edp_fraction_of_subgraph: float
    edp_fraction_of_model: float
    is_fused: bool
    fusion_benefit: float | None


class UnknownOperator(Record, frozen=True):
    """An operator type that edpc costs as data movement because it does not know it."""

    operator_type: str
    count: int
    domain: str


class Coverage(Record, frozen=True):
    """How much of the network was modelled: operators of known kind whose work is exact, the unknown ones, and remarks."""

    operators_total: int
    operators_modelled: int
    unknown: tuple[UnknownOperator, ...]
    notes: tuple[str, ...]


class ElasticityReport(Record, frozen=True):
    """By how many per cent energy, latency and EDP change when a constant of the machine grows by one per cent.

    The compiler's choices are kept. `constant` is as `--set` takes it, its value in `unit`; `basis` says how it is known.
    """

    constant: str
    value: float
    unit: str
    basis: str
    energy: float
    latency: float
    edp: float


class Finding(Record, frozen=True):
    """What a person should know first: a sentence, and the figures it was made from."""

    name: str
    sentence: str
    figures: dict[str, float | str]


class Report(Record, frozen=True, kw_only=True, dict=True):
    """Where a network's energy, latency and EDP go on a target.

    `attribution` says which method operators' edp_js follows, `metric` what the readers' tables rank by; `serving` is null for
    networks that generate no text. `elasticities` holds the constants that the EDP depends on most.
    """

    schema: Literal["edpc/report-v1"]
    edpc_version: str
    attribution: Attribution
    metric: Metric
    model: Model
    target: TargetReport
    totals: Totals
    serving: Serving | None
    subgraphs: tuple[SubgraphReport, ...]
    operators: tuple[OperatorReport, ...]
    fusion: Fusion
    coverage: Coverage
    findings: tuple[Finding, ...]
    elasticities: tuple[ElasticityReport, ...]

    @property
    def energy_j(self) -> float:
        """Energy of one run of the network."""
        return self.totals.energy_j

    @property
    def latency_s(self) -> float:
        """Latency of one run of the network."""
        return self.totals.latency_s

    @property
    def edp_js(self) -> float:
        """Energy times latency."""
        return self.totals.edp_js

    @property
    def machine(self) -> Target | None:
        """The target the report was built for; None for a report that was read from a file."""
        machine: Target | None = self.__dict__.get("machine")
        return machine

    @property
    def graph(self) -> Graph | None:
        """The annotated graph the report was built from; None for a report that was read from a file."""
        graph: Graph | None = self.__dict__.get("graph")
        return graph

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries and lists, as the JSON has it."""
        plain: dict[str, Any] = msgspec.json.decode(self.to_json())
        return plain

    def to_json(self) -> bytes:
        """The report as JSON, one line; the same report gives the same bytes."""
        return msgspec.json.encode(self)

    def save(self, path: str | Path) -> None:
        """Writes the report to a file, in the form that its suffix names: .html, .json, .csv, .md, .svg, ...

        Raises:
            UsageError: no form of that suffix, or it cannot be written.
        """
        from edpc.emit import save

        save([self], Path(path))

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from edpc.emit.notebook import to_html

        return to_html(self)
