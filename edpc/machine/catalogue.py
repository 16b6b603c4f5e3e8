"""The architecture classes that come with edpc, found by name; importing one registers it."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from edpc.errors import UsageError
from edpc.machine.model import MODELS, CostModel
from edpc.target import Target

_MODULES = {
    "roofline": "edpc.machine.roofline",
    "data-parallel": "edpc.machine.data_parallel",
    "systolic-array": "edpc.machine.systolic_array",
    "domain-flow": "edpc.machine.domain_flow",
    "stored-program": "edpc.machine.stored_program",
}


def model_of(target: Target) -> CostModel:
    """The cost model of a target's architecture, checked against the target's constants.

    Raises:
        UsageError: the architecture is unknown, or the target lacks a constant that its model reads.
    """
    name = target.architecture
    if name not in MODELS and name in _MODULES:
        import_module(_MODULES[name])
    if name not in MODELS:
        known = sorted({*MODELS, *_MODULES})
        close = get_close_matches(name, known, n=1)
        mend = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        raise UsageError(f"target {target.name}: unknown architecture {name!r}; {mend}")
    model = MODELS[name]
    model.check(target)
    return model
