"""The suite: which kernels at which sizes. Shapes span the sizes of each kernel kind; a few nodes each, never a network."""

from __future__ import annotations

from edpc.calibration.micro import Micro
from edpc.calibration.suite_compute import COMPUTE
from edpc.calibration.suite_memory import MEMORY

_FAMILIES = COMPUTE | MEMORY


def suite(every: int = 1) -> list[Micro]:
    """The micro-models, family by family.

    Args:
        every: take every so-manieth of each family: for a quick look.
    """
    return [
        build(Micro(f"{family}{number}"))
        for family, builds in _FAMILIES.items()
        for number, build in enumerate(list(builds())[::every])
    ]
