"""Speed and memory of edpc as whole processes, beside its peers in the same run.

    python -m tools.bench [--repeat N] [--only NAME]

Every command is started afresh, the repeats of all commands are interleaved, and the least wall time and the largest resident
set are kept: other work on the machine only ever adds. Ratios are edpc over the peer that does comparable work.
Peers: `onnx_tool` (counts MACs of the model) and bare `onnx.load` with `onnx.shape_inference.infer_shapes`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "models"
LIGHT = Path(metadata.distribution("onnx").locate_file("onnx/backend/test/data/light"))  # type: ignore[arg-type]
EDPC = [sys.executable, "-m", "edpc.cli.main"]

# An installed package is compiled; so must this checkout be, whatever the developer's shell says.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPATH": str(ROOT)}

# 4 targets x 4 precisions x 8 batches x 100 values of one constant.
SWEEP = [
    *("sweep", str(ROOT / "tests" / "models" / "bert_base.onnx"), "--target", "all", "--precision", "fp32,bf16,fp16,int8"),
    *("--batch", "1,2,4,8,16,32,64,128", "--vary", "dram.bandwidth=50GB/s:5TB/s:100:log", "--emit", "csv"),
]

# Counting MACs with onnx_tool, as its documentation does it, and reading shapes with onnx alone.
ONNX_TOOL = "import sys, onnx_tool; onnx_tool.model_profile(sys.argv[1])"
ONNX_ONLY = "import sys, onnx; onnx.shape_inference.infer_shapes(onnx.load(sys.argv[1], load_external_data=False))"


@dataclass
class Job:
    """A command to time: budgets in seconds and MiB come from the project's own goals; `peer` names what it is compared to."""

    name: str
    command: list[str]
    budget_s: float | None = None
    budget_mib: float | None = None
    peer: str | None = None
    seconds: float = math.inf
    mib: float = 0.0
    failed: str = ""

    def run(self, folder: str) -> None:
        """Runs once in a folder and keeps the least time and the largest resident set."""
        start = time.perf_counter()
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=ENVIRONMENT)
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        self.seconds = min(self.seconds, time.perf_counter() - start)
        self.mib = max(self.mib, usage.ru_maxrss / 1024)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            self.failed = (said.strip().splitlines() or ["no message"])[-1]


def make(kind: str, path: str, size: int) -> None:
    """Builds a model in a process of its own: a child's peak memory starts at its parent's, so this one must stay small."""
    subprocess.run([sys.executable, "-m", "tools.bench_models", kind, path, str(size)], check=True, cwd=ROOT)


def jobs(folder: Path, only: str) -> list[Job]:
    """The commands whose name holds `only`; those that need a model that is not there are left out."""
    found = [Job("edpc --help", [*EDPC, "--help"], 0.1)]
    for model, budget in (("light_resnet50", 0.6), ("light_densenet121", None)):
        path = str(LIGHT / f"{model}.onnx")
        peer = f"onnx_tool {model}"
        found.append(Job(f"edpc {model}", [*EDPC, path, "--target", "tpu"], budget, 150 if budget else None, peer))
        found.append(Job(peer, [sys.executable, "-c", ONNX_TOOL, path]))
        found.append(Job(f"onnx load+infer {model}", [sys.executable, "-c", ONNX_ONLY, path]))
    inline = folder / "inline.onnx"
    if only in "edpc onnx load+infer 1.8 GB inline":
        make("inline", str(inline), 27)
    found.append(Job("edpc 1.8 GB inline", [*EDPC, str(inline), "--target", "tpu"], 2.0, 300, "onnx load+infer 1.8 GB inline"))
    found.append(Job("onnx load+infer 1.8 GB inline", [sys.executable, "-c", ONNX_ONLY, str(inline)]))
    llama = SHARED / "llama3_8b.onnx"
    if llama.exists():
        found.append(
            Job("edpc llama3_8b, four targets", [*EDPC, str(llama), "--target", "all"], 5.0, 400, "onnx load+infer llama3_8b")
        )
        found.append(Job("onnx load+infer llama3_8b", [sys.executable, "-c", ONNX_ONLY, str(llama)]))
    found.append(Job("edpc sweep, 12,800 variants of bert_base", [*EDPC, *SWEEP], 60.0))
    for operators in (1_000, 10_000, 100_000):
        path = str(folder / f"chain{operators}.onnx")
        make("chain", path, operators)
        last = operators == 100_000
        found.append(
            Job(f"edpc chain of {operators:,}", [*EDPC, path, "--target", "tpu"], 30.0 if last else None, 2048 if last else None)
        )
    return [job for job in found if only in job.name]


def table(done: list[Job]) -> str:
    """The results as a Markdown table."""
    by_name = {job.name: job for job in done}
    lines = ["| process | s | budget | MiB | budget | edpc / peer |", "|---|---|---|---|---|---|"]
    for job in done:
        peer = by_name.get(job.peer or "")
        if job.failed:
            lines.append(f"| {job.name} | failed: {job.failed} | | | | |")
            continue
        ratio = (
            f"{job.seconds / peer.seconds:.2f} in time, {job.mib / peer.mib:.2f} in memory" if peer and not peer.failed else ""
        )
        budget_s = "" if job.budget_s is None else f"{job.budget_s:g}"
        budget_mib = "" if job.budget_mib is None else f"{job.budget_mib:g}"
        lines.append(f"| {job.name} | {job.seconds:.2f} | {budget_s} | {job.mib:.0f} | {budget_mib} | {ratio} |")
    return "\n".join(lines)


def growth(done: list[Job]) -> str:
    """Exponent of time against operators between the chains, start-up included."""
    chains = [(int(j.name.split()[-1].replace(",", "")), j.seconds) for j in done if "chain of" in j.name and not j.failed]
    steps = [
        f"{a:,} to {b:,} operators: time grows with exponent {math.log(t / s) / math.log(b / a):.2f}"
        for (a, s), (b, t) in itertools.pairwise(chains)
    ]
    return "\n".join(steps)


def main() -> int:
    """Runs the benchmark; answers 1 where a budget is broken or a command fails."""
    cli = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    cli.add_argument("--repeat", type=int, default=3, help="runs of each command (default 3)")
    cli.add_argument("--only", default="", help="run the commands whose name holds this text")
    args = cli.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = jobs(Path(folder), args.only)
        for _ in range(args.repeat):
            for job in chosen:
                job.run(folder)
    print(table(chosen))
    print(growth(chosen))
    broken = [
        job.name
        for job in chosen
        if (job.failed and job.command[:3] == EDPC)
        or (job.budget_s is not None and job.seconds > job.budget_s)
        or (job.budget_mib is not None and job.mib > job.budget_mib)
    ]
    print(f"over budget or failed: {', '.join(broken)}" if broken else "every budget holds")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
