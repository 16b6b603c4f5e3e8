"""Whole networks: what PyTorch took for transformers in fp32, eager and compiled, beside what edpc predicts end to end.

No end-to-end row was fitted on the H100: its constants come from single kernels and from the nodes inside these two networks.
Another machine takes one constant from its BERT-large rows where the data sheet does not say it: the clock that a board of 75 W
and less sustains, or what operand delivery costs on older multiprocessors. GPT2-large counts as held out everywhere.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache

import numpy as np

import edpc
from edpc.ir import Graph
from edpc.report import Report
from edpc.target import Target
from targets.h100 import TARGET as H100
from tests.machines.a100_40gb import TARGET as A100_40GB
from tests.machines.l4 import TARGET as L4
from tests.machines.p4 import TARGET as P4
from tests.machines.p100 import TARGET as P100
from tests.machines.t4 import TARGET as T4
from tests.machines.v100 import TARGET as V100
from tools.validate.measured import FOLDER
from tools.validate.score import Case

FILE = "neusight_models_e2e_inference.csv"
EAGER = "PyTorch eager, whole network"
COMPILED = "torch.compile, whole network"
MACHINES: dict[str, tuple[str, Target]] = {
    "h100": ("NVIDIA_H100_80GB_HBM3", H100),
    "a100-40gb": ("NVIDIA_A100-PCIE-40GB", A100_40GB),
    "v100": ("Tesla_V100-PCIE-32GB", V100),
    "p100": ("Tesla_P100-PCIE-16GB", P100),
    "p4": ("Tesla_P4", P4),
    "t4": ("Tesla_T4", T4),
    "l4": ("NVIDIA_L4", L4),
}
_FIT = "bert_large"


@cache
def networks(machine: str, launch: str) -> Case:
    """End-to-end latency, in s, of the networks that were measured on a machine, a key of `MACHINES`, in a launch mode."""
    hardware, target = MACHINES[machine]
    option = "option=fusion" if launch == "graph" else "option=nan"
    columns: list[tuple[bool, float, float, float, float, float]] = []
    with (FOLDER / FILE).open() as file:
        for line in csv.DictReader(file):
            if line["hardware"] != hardware or option not in line["notes"]:
                continue
            tokens = int(line["shape"].split(";")[0].removeprefix("seqlen="))
            report = predicted(line["op"], int(line["batch"]), tokens, target, launch)
            low, high = report.totals.interval.latency_s
            measured, roofline = float(line["latency_s"]), rooflines(report, target)
            columns.append((line["op"] != _FIT, measured, report.latency_s, roofline, low, high))
    held_out, *figures = (np.array(column) for column in zip(*columns, strict=True))
    return Case(held_out, *figures)


def together(machines: Sequence[str], launch: str) -> Case:
    """The rows of several machines, keys of `MACHINES`, as one case."""
    cases = [networks(machine, launch) for machine in machines]
    return Case(*(np.concatenate([getattr(case, name) for case in cases]) for name in Case.__slots__))


def predicted(model: str, batch: int, tokens: int, target: Target, launch: str) -> Report:
    """What edpc says of one of `tools.transformer_models.MODELS` in fp32."""
    return edpc.compile(_graph(model, batch, tokens), target=target, precision="fp32", set=[f"launch={launch}"])


def rooflines(report: Report, target: Target) -> float:
    """The trivial baseline: every operator at peak arithmetic or peak bandwidth, whichever takes longer, in s."""
    c = target.constants()
    rows = [
        (op.flops / c["matrix.fp32.rate"], (op.bytes_read + op.bytes_written) / c["dram.bandwidth"]) for op in report.operators
    ]
    return float(np.max(np.array(rows), axis=1).sum())


@cache
def _graph(model: str, batch: int, tokens: int) -> Graph:
    from tools.transformer_models import MODELS  # torch takes seconds to import

    module, inputs = MODELS[model](batch, tokens)
    return edpc.load(module, example_inputs=inputs)
