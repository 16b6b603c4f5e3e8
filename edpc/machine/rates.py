"""Per-row constants of a machine: rates and energies of its units by arithmetic precision, for vectorised cost models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edpc.machine.compose import kernel_sum
from edpc.machine.model import Constants
from edpc.machine.table import Floats, KernelTable, Names, distinct
from edpc.target import Target, Unit

# Where a unit lacks a precision, the arithmetic runs in the first of these that it has.
_INSTEAD: Mapping[str, tuple[str, ...]] = {
    "int2": ("int4", "int8", "fp8", "fp16", "bf16", "tf32", "fp32"),
    "int4": ("int8", "fp8", "fp16", "bf16", "tf32", "fp32"),
    "fp4": ("fp8", "fp16", "bf16", "tf32", "fp32"),
    "int8": ("fp16", "bf16", "tf32", "fp32"),
    "fp8": ("fp16", "bf16", "tf32", "fp32"),
    "int16": ("fp32",),
    "fp16": ("bf16", "tf32", "fp32"),
    "bf16": ("fp16", "tf32", "fp32"),
    "tf32": ("fp32",),
    "int64": ("int32", "fp64", "fp32"),
}
# A unit that the target does not list is played by the next in line.
_STAND_IN = {"special": "vector", "vector": "matrix", "matrix": "vector"}


def unit_of(target: Target, name: str) -> Unit:
    """The unit of that name, or the one that does its work: vector for special, matrix for vector, vector for matrix."""
    units = {unit.name: unit for unit in target.units}
    for candidate in (name, _STAND_IN.get(name, name), _STAND_IN.get(_STAND_IN.get(name, name), name)):
        if candidate in units:
            return units[candidate]
    return target.units[0]


def served_as(unit: Unit, precision: str, part: str = "rate") -> str:
    """The precision in which the unit runs arithmetic asked for in `precision`.

    Exact where the unit has it; else the nearest wider format it has; else fp32; else its slowest rate (dearest energy).

    Args:
        unit: an execution unit.
        precision: `fp32`, `int8`, ...
        part: `rate` or `energy`.
    """
    table = unit.rate if part == "rate" else unit.energy
    for candidate in (precision, *_INSTEAD.get(precision, ()), "fp32"):
        if candidate in table:
            return candidate
    by_value = sorted(table, key=lambda p: (table[p].value, p))
    return by_value[0] if part == "rate" else by_value[-1]


def per_row(target: Target, constants: Constants, unit: str, part: str, precision: Names) -> Floats:
    """A unit's rate or energy for each row's precision.

    Args:
        target: names the units.
        constants: values, floats or (variants, 1).
        unit: `matrix`, `vector` or `special`.
        part: `rate` (FLOP/s) or `energy` (J/FLOP).
        precision: shape (n,), arithmetic formats.

    Returns:
        Shape (n,) or (variants, n).
    """
    there = unit_of(target, unit)
    formats, inverse = distinct(precision)
    values = [np.asarray(constants[f"{there.name}.{served_as(there, p, part)}.{part}"], float) for p in formats]
    if not values:
        return np.zeros(0)
    shape = np.broadcast_shapes(*(v.shape for v in values))
    if not shape:
        return np.array(values)[inverse]
    rows: Floats = np.concatenate([np.broadcast_to(v, (shape[0], 1)) for v in values], axis=-1)[..., inverse]
    return rows


def arithmetic_energy(table: KernelTable, target: Target, constants: Constants) -> Floats:
    """Energy of every operator's arithmetic in J, by counted events: a MAC is two FLOP on the matrix unit.

    Returns:
        Shape (..., n).
    """
    matrix = per_row(target, constants, "matrix", "energy", table.precision)
    vector = per_row(target, constants, "vector", "energy", table.precision)
    special = per_row(target, constants, "special", "energy", table.precision)
    return 2.0 * table.macs * matrix + table.vector_ops * vector + table.transcendentals * special


def arithmetic_time(table: KernelTable, target: Target, constants: Constants) -> Floats:
    """How long every operator keeps its units busy at peak rate, in s: matrix, vector and special work added up.

    Returns:
        Shape (..., n).
    """
    matrix = per_row(target, constants, "matrix", "rate", table.precision)
    vector = per_row(target, constants, "vector", "rate", table.precision)
    special = per_row(target, constants, "special", "rate", table.precision)
    return 2.0 * table.macs / matrix + table.vector_ops / vector + table.transcendentals / special


def utilization(table: KernelTable, target: Target, constants: Constants, latency: Floats) -> Floats:
    """Achieved over peak rate of the unit that does most of each kernel's arithmetic; 0 for a kernel without any.

    Args:
        table: the columns.
        target: names the units.
        constants: values, floats or (variants, 1).
        latency: of every kernel in s, shape (..., g).

    Returns:
        Shape (..., g).
    """
    work = {"matrix": 2.0 * table.macs, "vector": table.vector_ops, "special": table.transcendentals}
    most = np.argmax(np.stack([kernel_sum(table, amount) for amount in work.values()]), axis=0)
    busy: Floats = np.zeros(len(table.group))
    for number, (unit, amount) in enumerate(work.items()):
        seconds = amount / per_row(target, constants, unit, "rate", table.precision)
        busy = busy + kernel_sum(table, np.where((most == number)[table.kernel], seconds, 0.0))
    return np.minimum(busy / np.where(latency > 0.0, latency, 1.0), 1.0)
