"""What is swept: axes, and the points that are compiled one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edpc import api
from edpc.errors import UsageError
from edpc.registry import constant_name
from edpc.target import Target
from edpc.units import parse_quantity

_MOST_VALUES = 1_000_000
_MOST_POINTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Axis:
    """A constant or switch of a machine and the values it takes.

    Attributes:
        key: as `--set` takes it. scope: the target it is for; empty for all.
        values: what stands behind the `=` of a `--set`, one text each.
        unit: SI unit of a constant; None for a switch.
    """

    key: str
    values: tuple[str, ...]
    scope: str = ""
    unit: str | None = None

    def cell(self, value: str) -> str | float:
        """A value as tables hold it: the number in SI, or the switch's position."""
        return value if self.unit is None else parse_quantity(value, self.unit)


@dataclass(frozen=True, slots=True)
class Point:
    """One compilation: a model on a target with its sizes, precision and switches, and the constants evaluated on it.

    Attributes:
        settings: `KEY=VALUE` texts that hold for the whole point.
        chosen: axes that hold one value for the whole point, which is among `settings`.
        columns: axes whose product is evaluated on the compiled graph.
    """

    model: str
    target: str
    precision: str | None
    batch: int | None
    dims: tuple[tuple[str, int], ...]
    fusion: bool
    settings: tuple[str, ...]
    chosen: tuple[Axis, ...]
    columns: tuple[Axis, ...]

    @property
    def variants(self) -> Iterator[tuple[str, ...]]:
        """The values of the columns, variant by variant; one empty variant where nothing varies."""
        return itertools.product(*(column.values for column in self.columns))


@dataclass(frozen=True, slots=True)
class Sweep:
    """A grid: every combination of what is listed.

    Attributes:
        models, targets: names as `edpc MODEL --target` takes them.
        precisions, batches: None stands for the model's own.
        dims: free dimensions and their sizes.
        fusions: whether operators are fused.
        settings: `KEY=VALUE` texts that hold throughout, `TARGET:KEY=VALUE` for one target.
        axes: constants and switches that vary.
    """

    models: tuple[str, ...]
    targets: tuple[str, ...]
    precisions: tuple[str | None, ...] = (None,)
    batches: tuple[int | None, ...] = (None,)
    dims: tuple[tuple[str, tuple[int, ...]], ...] = ()
    fusions: tuple[bool, ...] = (True,)
    settings: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()

    def points(self) -> tuple[Point, ...]:
        """The compilations, those of the same network and sizes side by side.

        Raises:
            UsageError: a target, constant or value is not one, or there are too many points.
        """
        for text in (*self.settings, *(f"{axis.scope}:{axis.key}" for axis in self.axes if axis.scope)):
            scope = _scope(text)
            if scope and scope not in self.targets:
                raise UsageError(f"{text}: target {scope!r} is not among {', '.join(self.targets)}")
        sizes = [tuple((name, size) for (name, _), size in zip(self.dims, chosen, strict=True)) for chosen in self._sizes()]
        per_target = {name: list(self._on(name)) for name in self.targets}
        count = len(self.models) * len(self.batches) * len(sizes) * len(self.precisions) * len(self.fusions)
        if count * max(map(len, per_target.values())) > _MOST_POINTS:
            raise UsageError(f"the sweep has more than {_MOST_POINTS:,} points to compile; name fewer values")
        return tuple(
            Point(model, target, precision, batch, dims, fusion, settings, chosen, columns)
            for model, batch, dims in itertools.product(self.models, self.batches, sizes)
            for target in self.targets
            for precision, fusion in itertools.product(self.precisions, self.fusions)
            for settings, chosen, columns in per_target[target]
        )

    def _sizes(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(*(sizes for _, sizes in self.dims))

    def _on(self, name: str) -> Iterator[tuple[tuple[str, ...], tuple[Axis, ...], tuple[Axis, ...]]]:
        """Switches and capacities decide how a network is fused, so each of their values is compiled; the rest are columns."""
        settings = tuple(text.removeprefix(f"{name}:") for text in self.settings if _scope(text) in ("", name))
        machine = api.configure(name, settings)
        mine = [axis for axis in self.axes if axis.scope in ("", name)]
        for axis in mine:
            for value in axis.values:
                api.configure(machine, [f"{axis.key}={value}"])
        apart = [axis for axis in mine if _decides_fusion(machine, axis.key)]
        columns = tuple(axis for axis in mine if axis not in apart)
        for values in itertools.product(*(axis.values for axis in apart)):
            chosen = tuple(replace(axis, values=(value,)) for axis, value in zip(apart, values, strict=True))
            yield (*settings, *(f"{axis.key}={axis.values[0]}" for axis in chosen)), chosen, columns


def axis(text: str, target: Target) -> Axis:
    """The axis of `KEY=A,B,C`, `KEY=FIRST:LAST:COUNT` (evenly spaced) or `KEY=FIRST:LAST:COUNT:log`.

    Args:
        text: with `TARGET:` before the key where it is for one target only.
        target: a machine that has the constant: it says in which unit the values are.

    Raises:
        UsageError: the text is none of these.
    """
    left, equals, right = text.partition("=")
    scope, _, key = (part.strip() for part in left.rpartition(":"))
    if not (key and equals and right.strip()):
        raise UsageError(f"--vary {text}: write for example hbm.bandwidth=2TB/s,4TB/s or hbm.bandwidth=1TB/s:8TB/s:100")
    unit = None if key in target.settings else target.quantities()[constant_name(target, key)].unit
    if ":" not in right or unit is None:
        values = tuple(dict.fromkeys(value.strip() for value in right.split(",")))
        if not all(values):
            raise UsageError(f"--vary {text}: an empty value; separate values by single commas")
        return Axis(key, values, scope, unit)
    suffix = "" if unit == "1" else unit
    return Axis(key, tuple(f"{value!r}{suffix}" for value in _range(text, right, unit)), scope, unit)


def _range(text: str, right: str, unit: str) -> Sequence[float]:
    first, last, count, *spacing = (part.strip() for part in right.split(":"))
    if not count.isdecimal() or spacing not in ([], ["log"]) or not 2 <= int(count) <= _MOST_VALUES:
        raise UsageError(f"--vary {text}: a range is FIRST:LAST:COUNT or FIRST:LAST:COUNT:log, with a COUNT from 2")
    low, high, steps = parse_quantity(first, unit), parse_quantity(last, unit), int(count) - 1
    if not spacing:
        return [low + (high - low) * i / steps for i in range(steps)] + [high]
    if not (low > 0.0 and high > 0.0):
        raise UsageError(f"--vary {text}: a logarithmic range needs ends above zero")
    return [low * math.exp(math.log(high / low) * i / steps) for i in range(steps)] + [high]


def _scope(setting: str) -> str:
    return setting.partition("=")[0].rpartition(":")[0]


def _decides_fusion(target: Target, key: str) -> bool:
    """Whether operators may be grouped, or found warm, otherwise when this changes: switches and what memories hold."""
    if key in target.settings:
        return True
    name = constant_name(target, key)
    return name == "llc.warm_fraction" or target.quantities()[name].unit == "B"
