"""Whole networks against measurements; skipped where these are not at hand."""

from __future__ import annotations

import numpy as np
import pytest

from tools.validate.measured import FOLDER
from tools.validate.networks import MACHINES, networks
from tools.validate.score import Case, errors

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the measured data is not beside the project"),
]


def mean_error(case: Case) -> float:
    return errors(case.predicted, case.measured).mean


@pytest.mark.parametrize(
    ("launch", "most"),
    [("eager", 3.5), ("graph", 4.0)],  # percent
)
def test_transformers_on_h100_end_to_end(launch: str, most: float) -> None:
    case = networks("h100", launch)
    assert len(case.measured) == 4
    assert mean_error(case) <= most
    assert mean_error(case.where(case.held_out)) <= most
    # the trivial baseline is far off, and every prediction is no shorter than its arithmetic
    assert errors(case.trivial, case.measured).mean > 4 * mean_error(case)


@pytest.mark.parametrize("machine", [name for name in MACHINES if name != "h100"])
def test_the_same_code_on_other_machines(machine: str) -> None:
    assert mean_error(networks(machine, "eager")) <= 15.0


@pytest.mark.parametrize("machine", ["a100-40gb", "l4"])
def test_the_same_code_compiled_on_other_machines(machine: str) -> None:
    assert mean_error(networks(machine, "graph")) <= 15.0


def test_compiling_saves_what_it_saved() -> None:
    eager, compiled = networks("h100", "eager"), networks("h100", "graph")
    measured = 1 - np.sort(compiled.measured) / np.sort(eager.measured)
    predicted = 1 - np.sort(compiled.predicted) / np.sort(eager.predicted)
    assert predicted == pytest.approx(measured, abs=0.025)  # 7 % of BERT-large, 17 to 19 % of GPT2-large
