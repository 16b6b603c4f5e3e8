"""What the cost models of dedicated machines count alike: element widths, and columns of one common shape."""

from __future__ import annotations

import numpy as np

from edpc.ir import DTYPE_BITS
from edpc.machine.table import CostColumns, Floats, KernelTable, Names, distinct
from edpc.target import Target

# Bits of arithmetic formats that are no element types.
_FORMAT_BITS = {"fp8": 8, "tf32": 32}
_LEAST_DYNAMIC = 0.05  # of the power limit


def element_bytes(precision: Names) -> Floats:
    """Bytes of one element as the arithmetic reads it, shape (n,); an unknown format counts as four."""
    formats, inverse = distinct(precision)
    widths = [DTYPE_BITS.get(p, _FORMAT_BITS.get(p, 32)) / 8.0 for p in formats]
    return np.array(widths, float)[inverse]


def written_off_chip(table: KernelTable, target: Target) -> Floats:
    """Bytes every operator writes to DRAM, shape (n,): its results, less those that stay on chip where the target keeps them."""
    keeps = setting(target, "residency", "off") == "on"
    return table.write_bytes - table.resident_bytes if keeps else table.write_bytes


def power_stretch(total: Floats, overhead: Floats, dynamic: Floats, limit: float | Floats, static: float | Floats) -> Floats:
    """By how much every kernel's streams slow down to keep the chip at its power limit, shape (..., g); 1 where they need not.

    Args:
        total: s, overhead included, shape (..., g).
        overhead: s that no clock changes, shape (..., g).
        dynamic: J of counted events, shape (..., g).
        limit: W.
        static: W, drawn whatever runs.
    """
    most = np.asarray(limit)
    # A machine set to idle above its own limit cannot be slowed down to it; some power is left to work with.
    left = np.maximum(most - static, _LEAST_DYNAMIC * most)
    streaming = total - overhead
    slower = (np.maximum(total, dynamic / left) - overhead) / np.where(streaming > 0.0, streaming, 1.0)
    found: Floats = np.where(streaming > 0.0, slower, 1.0)
    return found


def power_notes(stretch: Floats) -> dict[int, tuple[str, ...]]:
    """Says of every kernel that the power limit holds back by how much; nothing of a sweep."""
    if stretch.ndim > 1:
        return {}
    return {row: (f"power-limited, {stretch[row]:.2f} times slower",) for row in np.flatnonzero(stretch > 1.0 + 1e-9).tolist()}


def setting(target: Target, name: str, default: str) -> str:
    """The chosen value of a switch; `default` for a target that does not have it."""
    return target.setting(name) if name in target.settings else default


def settle(
    table: KernelTable, per_operator: dict[str, Floats], per_kernel: dict[str, Floats], notes: dict[int, tuple[str, ...]]
) -> CostColumns:
    """The columns with all operator figures of one shape (..., n) and all kernel figures of one shape (..., g)."""
    lead = np.broadcast_shapes(*(np.shape(x)[:-1] for x in (*per_operator.values(), *per_kernel.values())))
    n, g = len(table.names), len(table.group)
    wide = {name: np.broadcast_to(x, (*lead, n)) for name, x in per_operator.items()}
    wide |= {name: np.broadcast_to(x, (*lead, g)) for name, x in per_kernel.items()}
    return CostColumns(**wide, notes=notes)
