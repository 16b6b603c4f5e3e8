"""Runs SCALE-Sim on many layers: a JSON job on stdin, a JSON answer on stdout. Executed where `scalesim` is installed.

Job: `rows`, `columns`, `dataflow` (`ws`, `os`, `is`), `gemms` as [M, N, K], `convolutions` as [input height, width, filter
height, width, channels, filters, stride]. Answer: per layer, gemms first, the number of the last cycle; the addresses that its
traces show on the SRAM ports (inputs read, filters read, outputs written); and its report's counters of the same.
"""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

from scalesim.scale_sim import scalesim

CONFIGURATION = """
[general]
run_name = run
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
Dataflow = {dataflow}
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""


def simulate(configuration, layers, is_gemm):
    """Last cycle, port addresses and report counters of every layer."""
    Path("run.cfg").write_text(configuration)
    Path("layers.csv").write_text("header,\n" + "".join(f"l{i},{','.join(map(str, x))},\n" for i, x in enumerate(layers)))
    Path("layout.csv").write_text("header,\n")
    run = scalesim(True, False, "run.cfg", "layers.csv", "layout.csv", is_gemm)
    run.run_scale("out")
    answers = []
    for layer in run.runner.single_layer_sim_object_list:
        _, last_cycle, stalls, *_ = layer.get_compute_report_items()
        detail = layer.get_detail_report_items()
        ports = [int((demand != -1).sum()) for demand in layer.compute_system.get_demand_matrices()]
        counters = [int(detail[2]), int(detail[5]), int(detail[8])]
        answers.append({"last_cycle": int(last_cycle - stalls), "ports": ports, "counters": counters})
    return answers


def main():
    """Answers the job; whatever SCALE-Sim prints goes to stderr."""
    job = json.load(sys.stdin)
    configuration = CONFIGURATION.format(**{key: job[key] for key in ("rows", "columns", "dataflow")})
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        os.chdir(scratch)
        answers = simulate(configuration, job["gemms"], True) + simulate(configuration, job["convolutions"], False)
        os.chdir("/")
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
