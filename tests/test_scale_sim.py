"""The raw systolic forms equal SCALE-Sim 3.0.0, in cycles and in accesses of each SRAM port.

SCALE-Sim comes from PyPI for this test alone, into a folder of its own beside a numpy that it still runs on; without a registry
the tests skip. Strided convolutions are chosen so that their strides divide: SCALE-Sim rounds a last partial window up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edpc.machine import systolic_forms as forms
from edpc.operators import work
from tests.machine_graphs import Net

pytestmark = pytest.mark.slow

RANDOM = Random(20_251_101)
# What a default pip would take: numpy 2.4 no longer converts the one-element arrays that SCALE-Sim 3.0.0 takes for numbers.
PACKAGES = ("scalesim==3.0.0", "numpy>=2.1,<2.4", "tqdm")
DRIVER = Path(__file__).with_name("scale_sim_driver.py")

GEMMS = [[RANDOM.randint(1, 40) for _ in "mnk"] for _ in range(36)]
ARRAYS = ((4, 4), (16, 8), (8, 32))
DATAFLOWS = {"ws": forms.weight_stationary, "os": forms.output_stationary, "is": forms.input_stationary}


def _convolution() -> list[int]:
    """[input height, width, filter height, width, channels, filters, stride], the stride dividing what the filter leaves."""
    stride, height, width = RANDOM.randint(1, 3), RANDOM.randint(1, 4), RANDOM.randint(1, 4)
    out_height, out_width = RANDOM.randint(1, 5), RANDOM.randint(1, 5)
    sides = [(out_height - 1) * stride + height, (out_width - 1) * stride + width]
    return [*sides, height, width, RANDOM.randint(1, 6), RANDOM.randint(1, 20), stride]


CONVOLUTIONS = [_convolution() for _ in range(30)]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that can import `scalesim`."""
    folder = tmp_path_factory.mktemp("scalesim")
    # Of its requirements it imports only these.
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"SCALE-Sim cannot be installed: {(done.stderr.strip().splitlines() or ['no pip'])[-1]}")
    return {**os.environ, "PYTHONPATH": str(folder)}


def expected(dataflow: str, m: int, n: int, k: int, rows: int, columns: int) -> dict[str, Any]:
    """What the closed form says, as the driver answers."""
    run = DATAFLOWS[dataflow](m, n, k, rows, columns)
    ports = [int(run.a_reads), int(run.w_reads), int(run.o_writes)]
    counters = list(ports)
    if dataflow == "os":
        # Its counter, unlike its trace, also takes R + C for every fold.
        counters[2] += int(forms.folds(m, rows) * forms.folds(n, columns)) * (rows + columns)
    return {"last_cycle": int(run.cycles), "ports": ports, "counters": counters}


def product(height: int, width: int, f_height: int, f_width: int, channels: int, filters: int, stride: int) -> tuple[int, ...]:
    """M, N and K of a convolution, as an import counts it."""
    net = Net()
    out = (height - f_height) // stride + 1, (width - f_width) // stride + 1
    operands = [net.input("x", 1, channels, height, width), net.parameter("w", filters, channels, f_height, f_width)]
    net.op("y", "conv", operands, 1, filters, *out, strides=(stride, stride))
    counted = work(net.graph.op("y"))
    assert counted is not None
    (found,) = counted.contractions
    assert found.batch == 1
    return found.m, found.n, found.k


@pytest.mark.parametrize(("rows", "columns"), ARRAYS)
@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
def test_cycles_and_sram_accesses_equal_scale_sim(dataflow: str, rows: int, columns: int, oracle: dict[str, str]) -> None:
    job = {"rows": rows, "columns": columns, "dataflow": dataflow, "gemms": GEMMS, "convolutions": CONVOLUTIONS}
    command = [sys.executable, "-W", "ignore", str(DRIVER)]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, env=oracle, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    shapes = [*GEMMS, *(product(*layer) for layer in CONVOLUTIONS)]
    assert len(found) == len(shapes) == 66
    for shape, answer in zip(shapes, found, strict=True):
        assert answer == expected(dataflow, *shape, rows, columns), shape
