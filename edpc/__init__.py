"""edpc: where the energy-delay product of a neural network goes, on which machine, and why.

`compile` takes a model and a target and answers a `Report`; `compare` puts reports side by side; `load` and `run` are the two
halves of `compile` for who wants the graph. Importing edpc is cheap: each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edpc.version import __version__

if TYPE_CHECKING:
    from edpc.api import compare, compile, load, run
    from edpc.errors import EdpcError, GateError, ModelError, PassError, UsageError, VerifyError
    from edpc.ir import Graph
    from edpc.report import Comparison, Report
    from edpc.target import Target

_HOMES = {
    "compare": "edpc.api",
    "compile": "edpc.api",
    "load": "edpc.api",
    "run": "edpc.api",
    "EdpcError": "edpc.errors",
    "GateError": "edpc.errors",
    "ModelError": "edpc.errors",
    "PassError": "edpc.errors",
    "UsageError": "edpc.errors",
    "VerifyError": "edpc.errors",
    "Graph": "edpc.ir",
    "Comparison": "edpc.report",
    "Report": "edpc.report",
    "Target": "edpc.target",
}

__all__ = [
    "Comparison",
    "EdpcError",
    "GateError",
    "Graph",
    "ModelError",
    "PassError",
    "Report",
    "Target",
    "UsageError",
    "VerifyError",
    "__version__",
    "compare",
    "compile",
    "load",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edpc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
