"""The payload of a node: one operator, in the network's own language."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, NamedTuple

from edpc.ir.facts import Cost, Kernel, Share, Work
from edpc.ir.types import TensorType

Scalar = int | float | str | bool
Attribute = Scalar | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

# Operators that name a value rather than compute one, and the operator that names the graph's results.
SOURCE_KINDS = frozenset({"input", "parameter", "constant"})
RETURN_KIND = "return"
_NO_COMPUTE = SOURCE_KINDS | {RETURN_KIND}


class Value(NamedTuple):
    """A result of an operator: the producer's name and the number of the result."""

    node: str
    result: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """Where an operator comes from in the model.

    Attributes:
        source_name: the node's name in the model.
        source_type: its operator there (`Conv`, `com.microsoft.Attention`, `aten.linear`).
        module_path: dotted path of the module that holds it (`encoder.layer.0.attention`), empty where the model does not say.
        call: the framework's call that an exporter wrote out as this operator and others, where that is one kernel there.
    """

    source_name: str
    source_type: str = ""
    module_path: str = ""
    call: str = ""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: its kind, its operand and result types, its attributes, and the facts that passes found.

    Attributes:
        kind: a kind of the operator vocabulary (`edpc.operators`), or `input`, `parameter`, `constant`, `return`.
        inputs: operand types by slot; always the types of the results they are connected to.
        outputs: result types.
        attributes: (name, value) pairs sorted by name.
        location: where it stands in the model.
        work, cost, separate, share: facts; None until the pass that produces them ran. `cost` is its part of its
            group's kernel, `separate` the kernel it would be if nothing were fused.
    """

    kind: str
    inputs: tuple[TensorType, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    attributes: tuple[tuple[str, Attribute], ...] = ()
    location: Location | None = None
    work: Work | None = None
    cost: Cost | None = None
    separate: Kernel | None = None
    share: Share | None = None

    def attribute(self, name: str, default: Attribute | None = None) -> Attribute | None:
        """The attribute's value, or `default` where it is absent."""
        for key, value in self.attributes:
            if key == name:
                return value
        return default

    @property
    def is_source(self) -> bool:
        """Whether it names a value (input, parameter, constant) and computes nothing."""
        return self.kind in SOURCE_KINDS

    @property
    def is_compute(self) -> bool:
        """Whether it stands in groups and reports: neither a source nor the graph's return."""
        return self.kind not in _NO_COMPUTE

    def having(self, **changed: Any) -> Operator:
        """The operator with other values in these fields: `dataclasses.replace` in a fifth of the time.

        Raises:
            TypeError: there is no such field.
        """
        values = list(_field_values(self))
        for name, value in changed.items():
            if name not in _FIELD_PLACES:
                raise TypeError(f"an operator has no field {name!r}; it has {', '.join(_FIELD_PLACES)}")
            values[_FIELD_PLACES[name]] = value
        return Operator(*values)


_FIELD_PLACES = {field.name: place for place, field in enumerate(fields(Operator))}
_field_values = attrgetter(*_FIELD_PLACES)


def attributes(**values: Attribute) -> tuple[tuple[str, Attribute], ...]:
    """Attributes in the order an `Operator` keeps them."""
    return tuple(sorted(values.items()))
