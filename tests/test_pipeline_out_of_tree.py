"""A pass and a target that live outside the tree, each in one short file: the examples of the documentation, far from home."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edpc.cli.opt import main
from edpc.ir import Graph
from edpc.ir.text import parse_graph
from edpc.pipeline.base import PassContext
from edpc.pipeline.manager import Instrumentation, run_pipeline
from edpc.pipeline.text import parse_pipeline, print_pipeline
from edpc.registry import find_target, load_passes

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
PASS = "fold_batch_norm.py"
TARGET = "my_npu.py"
REST = "apply-precision,annotate-operators,fuse-operators,annotate-cost,attribute-edp"
TEXT = """
graph @net {
  %x = input() : fp32[1,3,8,8]
  %w = parameter() : fp32[4,3,1,1]
  %c = parameter() : fp32[4]
  %conv = conv(%x, %w) {kernel_shape = [1, 1]} : fp32[1,4,8,8]
  %norm = batch_norm(%conv, %c, %c, %c, %c) : fp32[1,4,8,8]
  %y = relu(%norm) : fp32[1,4,8,8]
  %out = return(%y) : ()
}
"""


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory outside the tree that holds the two files and a network."""
    for name in (PASS, TARGET):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    (tmp_path / "net.edp").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compiled(capsys: pytest.CaptureFixture[str], *flags: str) -> Graph:
    assert main(["net.edp", *flags]) == 0
    return parse_graph(capsys.readouterr().out)


def test_a_pass_takes_fewer_than_100_lines_and_a_target_fewer_than_150() -> None:
    assert len((EXAMPLES / PASS).read_text().splitlines()) < 100
    assert len((EXAMPLES / TARGET).read_text().splitlines()) < 150


def test_both_work_on_the_command_line(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = ("--target", f"./{TARGET}", "--precision", "int8")
    plain = compiled(capsys, *target, "-p", f"import-cleanup,{REST}")
    folded = compiled(capsys, *target, "--pass-file", f"./{PASS}", "-p", f"import-cleanup,fold-batch-norm,{REST}")
    assert "norm" in plain
    assert "norm" not in folded
    for graph in (plain, folded):
        assert graph.estimate is not None
        assert graph.estimate.target == "my-npu"
        # EDP is energy times latency, and the operators' shares sum to it.
        kernels = [group.kernel.cost for group in graph.groups if group.kernel]
        edp = sum(cost.energy_j for cost in kernels) * sum(cost.latency_s for cost in kernels)
        shares = [graph.op(name).share for name in graph.compute_order()]
        assert sum(share.events for share in shares if share) == pytest.approx(edp, rel=1e-9)


def test_a_constant_of_the_target_may_be_exchanged(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = ("--target", f"./{TARGET}", "-p", f"import-cleanup,{REST}")
    slow = compiled(capsys, *target, "--set", "launch=20us")
    fast = compiled(capsys, *target, "--set", "launch=0s")
    assert sum(g.kernel.cost.overhead_s for g in slow.groups if g.kernel) == pytest.approx(20e-6 * len(slow.groups))
    assert sum(g.kernel.cost.overhead_s for g in fast.groups if g.kernel) == 0.0


def test_both_work_from_python(away: Path) -> None:
    passes = load_passes(away / PASS)
    pipeline = parse_pipeline("import-cleanup,fold-batch-norm{at-most=0}", passes)
    assert print_pipeline(pipeline) == "import-cleanup,fold-batch-norm{at-most=0}"
    graph = parse_graph(TEXT)
    run_pipeline(graph, pipeline)
    assert "norm" in graph
    run_pipeline(graph, parse_pipeline("import-cleanup,fold-batch-norm", passes), PassContext(find_target(str(away / TARGET))))
    assert "norm" not in graph


def test_a_failure_far_from_home_is_replayed_with_the_same_files(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (away / PASS).write_text((away / PASS).read_text().replace("graph.remove(name)", "graph.remove(convolution)"))
    flags = ["--pass-file", f"./{PASS}", "--target", f"./{TARGET}", "--set", "launch=20us"]
    assert main(["net.edp", *flags, "-p", f"import-cleanup,fold-batch-norm,{REST}"]) == 4
    said = capsys.readouterr().err
    assert said.startswith("edpc-opt: error: pass fold-batch-norm failed: ValueError: %conv is still read by")
    (written,) = away.glob("*reproducer*.edp")
    assert f"--target ./{TARGET} --set launch=20us --pass-file ./{PASS} -p fold-batch-norm," in written.read_text()
    assert main([written.name]) == 4
    assert capsys.readouterr().err == said


def test_every_pipeline_of_a_target_is_whole(away: Path) -> None:
    """The default pipeline of a target needs nothing that a frontend does not bring."""
    target = find_target(str(away / TARGET))
    graph = parse_graph(TEXT)
    run_pipeline(graph, target.pipeline, PassContext(target), Instrumentation())
    assert graph.estimate is not None
