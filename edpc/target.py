"""What a target is: data only. Passes and cost models read it; a target module never runs code on a graph.

A target module may import this module and nothing else of edpc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from edpc.errors import UsageError
from edpc.operators import (
    ACTIVATION,
    ATTENTION_POINTWISE,
    CONTRACTION,
    CONVOLUTION,
    DATA_MOVEMENT,
    ELEMENTWISE,
    GATHER,
    KINDS,
    MATMUL,
    NORMALIZATION,
    POOLING,
    QUANTIZATION,
    RECURRENT,
    REDUCTION,
    SOFTMAX,
    VIEW,
    Family,
)


class Basis(StrEnum):
    """How a number is known; printed beside every figure derived from it."""

    DATASHEET = "datasheet"
    MEASURED = "measured"
    LITERATURE = "literature"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A constant of a machine.

    Attributes:
        value: in `unit`.
        unit: an SI unit or a ratio: `FLOP/s`, `B/s`, `B`, `J/FLOP`, `J/B`, `J`, `W`, `s`, `Hz`, `1`.
        basis: how it is known.
        source: where it can be looked up, or what was fitted to what.
        range: (lowest, highest) plausible value; None where it is exact.
    """

    value: float
    unit: str
    basis: Basis
    source: str
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError(f"{self.value} {self.unit}: a quantity needs a source")
        if self.range is not None and not self.range[0] <= self.value <= self.range[1]:
            raise ValueError(f"{self.value} {self.unit}: lies outside its own range {self.range}")


def datasheet(value: float, unit: str, source: str) -> Quantity:
    """A figure of the vendor's, exact."""
    return Quantity(value, unit, Basis.DATASHEET, source)


def measured(value: float, unit: str, low: float, high: float, source: str) -> Quantity:
    """A figure measured, or fitted to measurements."""
    return Quantity(value, unit, Basis.MEASURED, source, (low, high))


def fitted(prefix: str, source: str, spread: float, **values: tuple[float, str]) -> dict[str, Quantity]:
    """Constants `prefix.NAME` fitted together to measurements, each known to within the relative spread."""
    return {
        f"{prefix}.{name}": measured(v, unit, v * (1 - spread), v * (1 + spread), source) for name, (v, unit) in values.items()
    }


def published(value: float, unit: str, low: float, high: float, source: str) -> Quantity:
    """A figure of the literature."""
    return Quantity(value, unit, Basis.LITERATURE, source, (low, high))


def assumed(value: float, unit: str, low: float, high: float, source: str) -> Quantity:
    """A figure nobody measured or published for this machine, with the range it may have."""
    return Quantity(value, unit, Basis.ASSUMED, source, (low, high))


@dataclass(frozen=True, slots=True)
class Unit:
    """An execution unit.

    Attributes:
        name: `matrix` (multiply-accumulates of contractions), `vector` (other arithmetic) or `special` (transcendentals).
        rate: peak by arithmetic precision, in FLOP/s (a MAC is two) for the whole chip.
        energy: by arithmetic precision, in J/FLOP.
    """

    name: str
    rate: Mapping[str, Quantity]
    energy: Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class Memory:
    """One level of the hierarchy.

    Attributes:
        name: what the machine calls it (`hbm`, `l2`, `cmem`).
        role: what it is to the cost model: `dram` (off chip, exactly one), `llc` (last level on chip, shared) or `local`;
            machines with a level between the last two call it `middle`.
        capacity: B. bandwidth: B/s. read_energy, write_energy: J/B.
    """

    name: str
    role: str
    capacity: Quantity
    bandwidth: Quantity
    read_energy: Quantity
    write_energy: Quantity


@dataclass(frozen=True, slots=True)
class Guard:
    """A named condition on a candidate for fusion (see `edpc.guards`), with its argument."""

    name: str
    argument: int | str | None = None


MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pattern: between `at_least` and `at_most` operators of these kinds, each reading what came before."""

    kinds: frozenset[str]
    at_least: int = 1
    at_most: int = 1
    guards: tuple[Guard, ...] = ()


def one(kinds: frozenset[str], *guards: Guard) -> Stage:
    """Exactly one operator of these kinds."""
    return Stage(kinds, 1, 1, guards)


def maybe(kinds: frozenset[str], *guards: Guard) -> Stage:
    """At most one operator of these kinds."""
    return Stage(kinds, 0, 1, guards)


def some(kinds: frozenset[str], *guards: Guard) -> Stage:
    """One or more operators of these kinds."""
    return Stage(kinds, 1, MANY, guards)


def many(kinds: frozenset[str], *guards: Guard) -> Stage:
    """Any number of operators of these kinds."""
    return Stage(kinds, 0, MANY, guards)


@dataclass(frozen=True, slots=True)
class Rule:
    """A fusion pattern: stages from producer to consumer. Rules are tried in order, the first that matches wins.

    Attributes:
        name: what reports call the pattern.
        stages: the first stage holds the anchor. Views between stages are looked through and become members.
        kernel_class: the cost form of the fused kernel.
        guards: hold for every operator that joins; a refusal keeps its reason.
        why: what makes the machine able to fuse this.
        prologue: kinds that join from above, once the stages have matched: an operator of such a kind becomes a member when
            everything that reads it (through views too) is in the group: a dequantize, a quantiser, a transpose of an operand.
        prologue_guards: hold for every operator that joins from above.
        when: (setting, choice) under which the machine has the rule; None for always.
    """

    name: str
    stages: tuple[Stage, ...]
    kernel_class: str
    guards: tuple[Guard, ...] = ()
    why: str = ""
    prologue: frozenset[str] = frozenset()
    prologue_guards: tuple[Guard, ...] = ()
    when: tuple[str, str] | None = None


_CLASS_OF_FAMILY = {family: family.value for family in Family} | {
    Family.MATMUL: "gemm",
    Family.CONVOLUTION: "conv",
    Family.VIEW: "none",
    Family.UNKNOWN: "movement",
    **dict.fromkeys((Family.ELEMENTWISE, Family.QUANTIZATION, Family.OTHER), "vector"),
}


def kernel_class(kind: str) -> str:
    """The kernel class of an operator that runs on its own, as rules name it; an unknown kind is data movement."""
    return _CLASS_OF_FAMILY[KINDS[kind].family] if kind in KINDS else "movement"


@dataclass(frozen=True, slots=True)
class Modifier:
    """Declared architectural modifier of operator kinds: EDP relative to the FLOP-proportional base, fused and separate."""

    name: str
    kinds: frozenset[str]
    fused: float
    separate: float


@dataclass(frozen=True, slots=True)
class Precision:
    """How a network is served at a requested precision.

    Attributes:
        weights: element type of parameters of contractions (`fp32`, `bf16`, `int8`, `fp8e4m3`, `int4`).
        activations: element type of activations between kernels.
        operands: element type of the activations that a contraction reads; where it differs from `activations` they are
            quantised dynamically, per token, before it.
        compute: arithmetic format of contractions: a key of the matrix unit's rates.
        vector: arithmetic format of everything else: a key of the vector unit's rates.
        note: what the report says where this is not simply the requested precision.
    """

    weights: str
    activations: str
    operands: str
    compute: str
    vector: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A switch of the machine or its runtime that is not a number (`launch=graph|eager`)."""

    default: str
    choices: tuple[str, ...]
    doc: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """A machine and how it runs networks.

    Attributes:
        name: as given to `--target`. summary: one line.
        architecture: the cost model: `roofline`, `data-parallel`, `systolic-array`, `domain-flow`, `stored-program`.
        units, memories: what computes and what holds data, nearest memory first; exactly one memory has the role `dram`.
        static_power: W, drawn whatever runs.
        parameters: every other constant of the cost model, by dotted name (`launch.graph`, `gemm.tile_prologue`).
        settings: switches. precisions: what `--precision` may ask for and how it is served.
        rules, modifiers: fusion patterns in order of priority, and the declared modifiers, first match wins.
        pipeline: the passes that compile for this target.
        notes: what every report for this target must say.
        reference: whether it only keeps somebody's earlier figures reproducible, and describes no machine as it is.
    """

    name: str
    summary: str
    architecture: str
    units: tuple[Unit, ...]
    memories: tuple[Memory, ...]
    static_power: Quantity
    parameters: Mapping[str, Quantity]
    precisions: Mapping[str, Precision]
    rules: tuple[Rule, ...]
    modifiers: tuple[Modifier, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    pipeline: str = "import-cleanup,apply-precision,annotate-operators,fuse-operators,annotate-cost,attribute-edp"
    notes: tuple[str, ...] = ()
    reference: bool = False

    def __post_init__(self) -> None:
        if sum(m.role == "dram" for m in self.memories) != 1:
            raise ValueError(f"target {self.name}: exactly one memory must have the role 'dram'")
        for what, names in (
            ("memories", [m.name for m in self.memories]),
            ("units", [u.name for u in self.units]),
            ("rules", [r.name for r in self.rules]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"target {self.name}: two {what} share a name")
        if strangers := self.chosen.keys() - self.settings.keys():
            raise ValueError(f"target {self.name}: chosen settings {sorted(strangers)} do not exist")
        for rule in self.rules:
            if rule.when is not None and rule.when[1] not in getattr(self.settings.get(rule.when[0]), "choices", ()):
                raise ValueError(f"target {self.name}: there is no setting {'='.join(rule.when)} for the rule {rule.name}")

    def quantities(self) -> dict[str, Quantity]:
        """Every constant by the dotted name that `--set` takes: `matrix.bf16.rate`, `hbm.bandwidth`, `static_power`, ..."""
        return dict(self._quantities)

    @cached_property
    def _quantities(self) -> dict[str, Quantity]:
        found: dict[str, Quantity] = {"static_power": self.static_power}
        for unit in self.units:
            for precision, rate in unit.rate.items():
                found[f"{unit.name}.{precision}.rate"] = rate
            for precision, energy in unit.energy.items():
                found[f"{unit.name}.{precision}.energy"] = energy
        for memory in self.memories:
            for part in ("capacity", "bandwidth", "read_energy", "write_energy"):
                found[f"{memory.name}.{part}"] = getattr(memory, part)
        return found | dict(self.parameters)

    def constants(self) -> dict[str, float]:
        """Values as cost models read them: as `quantities`, with memories named by role (`dram.bandwidth`, `llc.capacity`)."""
        return {role: self._quantities[name].value for role, name in self._roles.items()}

    def names(self) -> dict[str, str]:
        """The names of `constants`, each with the one that `--set` takes."""
        return dict(self._roles)

    @cached_property
    def _roles(self) -> dict[str, str]:
        roles = {m.name: m.role for m in self.memories}
        found: dict[str, str] = {}
        for name in self._quantities:
            head, _, rest = name.partition(".")
            found[f"{roles[head]}.{rest}" if head in roles else name] = name
        return found

    def setting(self, name: str) -> str:
        """The chosen or default value of a switch."""
        return self.chosen.get(name, self.settings[name].default)

    def has(self, rule: Rule) -> bool:
        """Whether the machine, set as it is, fuses by that rule."""
        return rule.when is None or self.setting(rule.when[0]) == rule.when[1]

    def with_quantity(self, key: str, value: float, source: str) -> Target:
        """The target with one constant exchanged; the new one is exact, and `source` says who set it.

        Raises:
            UsageError: no constant of that name.
        """
        known = self.quantities()
        if key not in known:
            raise UsageError(f"target {self.name} has no constant {key!r}; see `edpc targets {self.name}`")
        new = Quantity(value, known[key].unit, Basis.ASSUMED, source)
        if key == "static_power":
            return replace(self, static_power=new)
        if key in self.parameters:
            return replace(self, parameters={**self.parameters, key: new})
        head, *middle, part = key.split(".")
        if middle:
            return replace(self, units=tuple(_exchanged(u, head, part, ".".join(middle), new) for u in self.units))
        parts: dict[str, Any] = {part: new}
        return replace(self, memories=tuple(replace(m, **parts) if m.name == head else m for m in self.memories))

    def with_setting(self, key: str, value: str) -> Target:
        """The target with one switch thrown.

        Raises:
            UsageError: no switch of that name, or not one of its choices.
        """
        if key not in self.settings:
            raise UsageError(f"target {self.name} has no setting {key!r}; see `edpc targets {self.name}`")
        if value not in self.settings[key].choices:
            choices = ", ".join(self.settings[key].choices)
            raise UsageError(f"setting {key} of target {self.name} is one of {choices}, not {value!r}")
        return replace(self, chosen={**self.chosen, key: value})


def _exchanged(unit: Unit, name: str, part: str, precision: str, new: Quantity) -> Unit:
    if unit.name != name:
        return unit
    if part == "rate":
        return replace(unit, rate={**unit.rate, precision: new})
    return replace(unit, energy={**unit.energy, precision: new})


__all__ = [
    "ACTIVATION",
    "ATTENTION_POINTWISE",
    "CONTRACTION",
    "CONVOLUTION",
    "DATA_MOVEMENT",
    "ELEMENTWISE",
    "GATHER",
    "MANY",
    "MATMUL",
    "NORMALIZATION",
    "POOLING",
    "QUANTIZATION",
    "RECURRENT",
    "REDUCTION",
    "SOFTMAX",
    "VIEW",
    "Basis",
    "Guard",
    "Memory",
    "Modifier",
    "Precision",
    "Quantity",
    "Rule",
    "Setting",
    "Stage",
    "Target",
    "Unit",
    "assumed",
    "datasheet",
    "fitted",
    "kernel_class",
    "many",
    "maybe",
    "measured",
    "one",
    "published",
    "some",
]
