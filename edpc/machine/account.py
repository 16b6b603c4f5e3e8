"""What the cost models of dedicated machines count alike: element widths, utilisation, and columns of one common shape."""

from __future__ import annotations

import numpy as np

from edpc.ir import DTYPE_BITS
from edpc.machine.compose import kernel_sum
from edpc.machine.model import Constants
from edpc.machine.rates import per_row
from edpc.machine.table import CostColumns, Floats, KernelTable, Names
from edpc.target import Target

# Bits of arithmetic formats that are no element types.
_FORMAT_BITS = {"fp8": 8, "tf32": 32}


def element_bytes(precision: Names) -> Floats:
    """Bytes of one element as the arithmetic reads it, shape (n,); an unknown format counts as four."""
    formats, inverse = np.unique(precision, return_inverse=True)
    widths = [DTYPE_BITS.get(str(p), _FORMAT_BITS.get(str(p), 32)) / 8.0 for p in formats]
    return np.array(widths, float)[inverse]


def utilization(table: KernelTable, target: Target, constants: Constants, total_s: Floats) -> Floats:
    """Time at peak rate of the unit that does most of a kernel's arithmetic, over the kernel's latency; shape (..., g).

    Args:
        table: the columns.
        target: names the units.
        constants: values, floats or (variants, 1).
        total_s: latency, shape (..., g).
    """
    matrix = kernel_sum(table, 2.0 * table.macs / per_row(target, constants, "matrix", "rate", table.precision))
    vector = kernel_sum(
        table,
        table.vector_ops / per_row(target, constants, "vector", "rate", table.precision)
        + table.transcendentals / per_row(target, constants, "special", "rate", table.precision),
    )
    does_products = kernel_sum(table, 2.0 * table.macs) >= kernel_sum(table, table.vector_ops + table.transcendentals)
    ideal = np.where(does_products, matrix, vector)
    ratio: Floats = np.where(total_s > 0.0, ideal / np.where(total_s > 0.0, total_s, 1.0), 0.0)
    return np.minimum(ratio, 1.0)


def settle(
    table: KernelTable, per_operator: dict[str, Floats], per_kernel: dict[str, Floats], notes: dict[int, tuple[str, ...]]
) -> CostColumns:
    """The columns with all operator figures of one shape (..., n) and all kernel figures of one shape (..., g)."""
    lead = np.broadcast_shapes(*(np.shape(x)[:-1] for x in (*per_operator.values(), *per_kernel.values())))
    n, g = len(table.names), len(table.group)
    wide = {name: np.broadcast_to(x, (*lead, n)) for name, x in per_operator.items()}
    wide |= {name: np.broadcast_to(x, (*lead, g)) for name, x in per_kernel.items()}
    return CostColumns(**wide, notes=notes)
