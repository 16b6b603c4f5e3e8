"""Sweeps: one network over batches, precisions, targets and values of machine constants, as rows of totals.

`grid` says what is swept, `evaluate` prices one point of it on numpy columns, `run` spreads points over processes or a cluster
and resumes. A row is what `edpc MODEL --set KEY=VALUE` would answer: the machine chooses its tiles anew for every value. Nothing
here prints.
"""

from edpc.sweep.grid import Axis, Point, Sweep, axis
from edpc.sweep.run import Outcome, run_sweep

__all__ = ["Axis", "Outcome", "Point", "Sweep", "axis", "run_sweep"]
