"""What a cost model is, and the table of architecture classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from edpc.errors import UsageError
from edpc.machine.table import CostColumns, Floats, Ints, KernelTable
from edpc.target import Target

# Values by the names of `Target.constants()`: floats, or arrays of shape (variants, 1) for sweeps and draws.
Constants = Mapping[str, float | Floats]


_SHORT = 2_000  # operators up to which all variants are summed at once; beyond, one by one stays in the cache


class Asked(Mapping[str, float | Floats]):
    """Constants that remember which of them a model asked for.

    Attributes:
        held: the constants. names: of those whose values were read, by whoever shares the set.
    """

    def __init__(self, held: Constants, names: set[str] | None = None) -> None:
        self.held = dict(held)
        self.names: set[str] = set() if names is None else names

    def __getitem__(self, name: str) -> float | Floats:
        value = self.held[name]
        self.names.add(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self.held

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


def completed(constants: Constants, target: Target) -> Constants:
    """The constants, and the target's nominal values where there are none."""
    if isinstance(constants, Asked):
        return Asked({**target.constants(), **constants.held}, constants.names)
    return {**target.constants(), **constants}


def leading_shape(constants: Constants) -> tuple[int, ...]:
    """The leading axes of figures under these constants: none, or (variants,)."""
    held = constants.held if isinstance(constants, Asked) else constants
    return np.broadcast_shapes(*{value.shape[:-1] for value in held.values() if isinstance(value, np.ndarray)})


class CostModel(ABC):
    """An architecture class: from columns and constants to latency and energy.

    A model is a pure function of the table, the settings and the constants, written so that a constant may be an array of
    shape (variants, 1); a sweep is array arithmetic.
    """

    architecture: ClassVar[str]
    # Constants the model reads from `Target.parameters`: name -> (unit, what it is). A target that lacks one is refused by name.
    parameters: ClassVar[Mapping[str, tuple[str, str]]] = {}
    # Whether overhead energy is power drawn as long as kernels run (of clocked units), rather than spent per launch.
    overhead_is_power: ClassVar[bool] = False

    @abstractmethod
    def plan(self, table: KernelTable, target: Target) -> Any:
        """The discrete choices (tiles, splits, dataflows, placements) at the target's nominal constants."""

    @abstractmethod
    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Any) -> CostColumns:
        """Costs under a plan. `constants` override the target's nominal values; the target gives settings and structure."""

    def check(self, target: Target) -> None:
        """Refuses a target that lacks a constant this model reads.

        Raises:
            UsageError: names the target, the constant, its unit and what it is.
        """
        known = target.constants()
        for name, (unit, what) in self.parameters.items():
            if name not in known:
                raise UsageError(
                    f"target {target.name}: the {self.architecture} cost model needs the constant {name!r} ({what}, in {unit})"
                )


MODELS: dict[str, CostModel] = {}


def register(model: CostModel) -> CostModel:
    """Enters an architecture class; a name that is taken is a ValueError."""
    if model.architecture in MODELS:
        raise ValueError(f"architecture {model.architecture!r} is registered twice")
    MODELS[model.architecture] = model
    return model


def summed(rows: Floats, kernel: Ints, g: int) -> Floats:
    """Sums over the operators of each kernel.

    Args:
        rows: shape (..., n).
        kernel: shape (n,), row of each operator's kernel.
        g: how many kernels there are.

    Returns:
        Shape (..., g).
    """
    lead = rows.shape[:-1]
    flat = rows.reshape(-1, rows.shape[-1])
    found: Floats
    if len(flat) == 1 or len(kernel) > _SHORT:
        found = np.stack([np.bincount(kernel, row, g) for row in flat]).astype(float)
    else:
        at = kernel + g * np.arange(len(flat))[:, None]
        found = np.bincount(at.reshape(-1), flat.reshape(-1), len(flat) * g).astype(float)
    return found.reshape(*lead, g)


def spread(per_kernel: Floats, weight: Floats, kernel: Ints) -> Floats:
    """Divides a figure per kernel among its operators in proportion to `weight`; equally where all weights are zero.

    Args:
        per_kernel: shape (..., g).
        weight: shape (..., n), not negative.
        kernel: shape (n,), row of each operator's kernel.

    Returns:
        Shape (..., n); sums to `per_kernel` over the operators of each kernel.
    """
    g = per_kernel.shape[-1]
    weight = np.broadcast_to(weight, (*np.broadcast_shapes(weight.shape[:-1], per_kernel.shape[:-1]), weight.shape[-1]))
    total = summed(weight, kernel, g)
    members = np.maximum(np.bincount(kernel, minlength=g), 1)
    idle = total <= 0.0
    share = np.where(idle[..., kernel], 1.0 / members[kernel], weight / np.where(idle, 1.0, total)[..., kernel])
    result: Floats = per_kernel[..., kernel] * share
    return result
