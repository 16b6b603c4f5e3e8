"""Holds the CPU model against ONNX Runtime on this machine, over networks that calibration never runs.

    python -m tools.validate_cpu [--threads 1,2] [--batch 1,8] [--sweeps N] [--only NAME,...] [-o results.json]

Calibrates first, in the same run, so that predictions and measurements see the same machine. On a machine that is shared with
others, `--sweeps 2` measures every network again after all have been, minutes later, and the faster time counts: disturbances
only lengthen one. Networks: the nine light models of
the onnx package, the networks of `tests/models`, and building blocks; goals are those of the accuracy table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import onnx

from edpc.calibration.calibrate import BUDGET_S, calibrate
from edpc.calibration.host import cores
from edpc.calibration.suite import suite
from edpc.cli.output import show
from edpc.measured import host_target, write_calibration
from edpc.registry import find_target
from edpc.validation.cpu import validate
from edpc.validation.export import exported
from edpc.validation.render import document, to_json
from edpc.validation.results import ModelResult, summaries

ROOT = Path(__file__).parents[1]
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
OURS = ("resnet18", "mobilenet_v2", "bert_base", "bert_tiny")
BLOCKS = ("vit-b-16", "transformer-encoder", "gpt2?layers=4&tokens=64")
# Mean error of models, its part within 15 %, and error of nodes weighted by time, by number of threads.
GOALS = {1: (0.06, 0.9, 0.11), 2: (0.07, 0.9, 0.13)}


def networks(batch: int) -> Iterator[tuple[str, onnx.ModelProto, int | None]]:
    """The networks: name, model, and the batch that is still to be set."""
    for path in sorted(LIGHT.glob("*.onnx")):
        yield path.stem, onnx.load(path), batch
    for name in OURS:
        yield name, onnx.load(ROOT / "tests" / "models" / f"{name}.onnx"), batch
    for name in BLOCKS:
        yield name.partition("?")[0], exported(f"block:{name}", batch), None


@click.command()
@click.option("--threads", default=f"1,{cores()}" if cores() > 1 else "1", show_default=True)
@click.option("--batch", default="1,8", show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="How long to run each network for.")
@click.option("--sweeps", default=1, show_default=True, help="How often to go through the networks.")
@click.option("--only", default="", help="Names of networks, separated by commas.")
@click.option("--calibration", type=click.Path(path_type=Path), default=Path("build/cpu-host.json"), show_default=True)
@click.option("--keep", is_flag=True, help="Take the calibration that is there.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the results go as JSON.")
def main(
    threads: str, batch: str, seconds: float, sweeps: int, only: str, calibration: Path, keep: bool, output: Path | None
) -> None:
    """Calibrate, run every network, print the tables, and say which goals hold."""
    counts = [int(n) for n in threads.split(",")]
    if not keep:
        start = time.perf_counter()
        write_calibration(calibrate(suite(), counts, BUDGET_S, lambda what, part: None), calibration)
        click.echo(f"calibration took {time.perf_counter() - start:.1f} s", err=True)
    target = host_target(find_target("cpu"), calibration)
    fastest: dict[tuple[str, str, int], ModelResult] = {}
    wanted = only.split(",") if only else []
    machines = [target.with_setting("threads", str(n)) for n in counts]
    for size in [int(n) for n in batch.split(",")] * sweeps:
        for name, model, still in networks(size):
            if wanted and not any(part in name for part in wanted):
                continue
            for result in validate(model, machines, batch=still, seconds=seconds, name=name):
                key = result.model, result.mode, size
                fastest[key] = min(result, fastest.get(key, result), key=lambda each: each.measured_s)
    results = sorted(fastest.values(), key=lambda result: result.mode)
    show(document(results, target.name, 20))
    if output is not None:
        output.write_bytes(to_json(results, target.name))
    missed = 0
    for summary, n in zip(summaries(results), sorted(counts), strict=True):
        goal = GOALS.get(n)
        if goal is None:
            continue
        for what, got, limit, ok in (
            ("mean error of models", summary.model.mape, goal[0], summary.model.mape <= goal[0]),
            ("models within 15 %", summary.model.within, goal[1], summary.model.within >= goal[1]),
            ("error of nodes by time", summary.nodes, goal[2], summary.nodes <= goal[2]),
        ):
            click.echo(f"{summary.mode}: {what} {100 * got:.1f} %, goal {100 * limit:.0f} %: {'holds' if ok else 'missed'}")
            missed += not ok
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
