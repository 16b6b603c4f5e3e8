"""`edpc-opt`: what it answers, how it fails, and that the reproducer of a failure replays it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from edpc.cli.opt import main
from edpc.ir.text import parse_graph

ROOT = Path(__file__).parents[1]
TEXT = """graph @net {
  %x = input() : fp32[4]
  %y = relu(%x) : (fp32[4]) -> fp32[4]
}
"""

# A pass that fails on any gelu, and one that makes gelus.
PASSES = """
from dataclasses import dataclass
from typing import ClassVar
from edpc.errors import UsageError
from edpc.pipeline.base import Fact, Pass

@dataclass(frozen=True)
class MakeGelu(Pass):
    '''Every relu is a gelu.'''
    name: ClassVar[str] = "make-gelu"
    preserves: ClassVar[frozenset[Fact]] = frozenset(Fact)

    def run(self, graph, ctx):
        found = [name for name in graph.compute_order() if graph.op(name).kind == "relu"]
        for name in found:
            graph.annotate(name, kind="gelu")
        return bool(found)

@dataclass(frozen=True)
class HateGelu(Pass):
    '''Nothing is true afterwards.'''
    name: ClassVar[str] = "hate-gelu"
    politely: bool = False

    def run(self, graph, ctx):
        for name in graph.compute_order():
            if graph.op(name).kind == "gelu":
                if self.politely:
                    raise UsageError(f"%{name} is a gelu")
                raise RuntimeError(f"{name} is a gelu")
        return False
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with `net.edp` and `mine.py`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.edp").write_text(TEXT)
    (tmp_path / "mine.py").write_text(PASSES)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_without_a_pipeline_it_verifies_and_prints(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "net.edp") == (0, TEXT, "")


def test_stdin(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert run(capsys, "-") == (0, TEXT, "")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"graph")))
    assert run(capsys, "-")[2].startswith("edpc-opt: error: <stdin>:1:6: expected '@'")


def test_passes_of_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "net.edp", "--pass-file", "mine.py", "-p", "hate-gelu,make-gelu")
    assert (code, err) == (0, "")
    assert parse_graph(out).op("y").kind == "gelu"


def test_a_reproducer_replays_the_failure(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "net.edp", "--pass-file", "mine.py", "--precision", "bf16", "-p", "make-gelu,hate-gelu,make-gelu"
    )
    assert (code, out) == (4, "")
    assert err.startswith("edpc-opt: error: pass hate-gelu failed: RuntimeError: y is a gelu (mine.py:")
    (written,) = here.glob("*reproducer*.edp")
    assert written.name in err
    text = written.read_text()
    assert text.startswith("// RUN: edpc-opt %s --precision bf16 --pass-file mine.py -p hate-gelu,make-gelu\n")
    assert parse_graph(text).op("y").kind == "gelu"
    # Without a pipeline, the RUN line says which: the same failure, and the same reproducer again.
    again = run(capsys, written.name)
    assert again[0] == 4
    assert again[2] == err
    assert list(here.glob("*reproducer*.edp")) == [written]
    # A pipeline on the command line says otherwise.
    assert run(capsys, written.name, "-p", "")[0] == 0
    # With the failing pass mended, the file is a passing test.
    (here / "mine.py").write_text(PASSES.replace("raise RuntimeError", "print"))
    assert run(capsys, written.name)[0] == 0


def test_errors_of_the_user_leave_no_reproducer(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "net.edp", "--pass-file", "mine.py", "-p", "make-gelu,hate-gelu{politely=true}")
    assert answer == (2, "", "edpc-opt: error: %y is a gelu\n")
    assert not list(here.glob("*reproducer*"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "edpc-opt: error: Missing argument 'FILE'"),
        (["net.edp", "--pass-pipelin", "x"], 2, "edpc-opt: error: No such option"),
        (["no.edp"], 3, "edpc-opt: error: cannot read no.edp: No such file or directory"),
        (["."], 3, "edpc-opt: error: cannot read .: Is a directory"),
        (["binary.edp"], 3, "edpc-opt: error: binary.edp is not textual IR: byte 0 is not UTF-8"),
        (["empty.edp"], 3, "edpc-opt: error: empty.edp:1:1: expected 'graph', found the end of the text"),
        (["wrong.edp"], 3, "edpc-opt: error: wrong.edp: %y reads %x#0 as fp16[4], which is fp32[4] (rule operand-types"),
        (["net.edp", "-p", "zzz"], 2, "edpc-opt: error: there is no pass 'zzz'"),
        (["net.edp", "-p", "annotate-cost"], 2, "edpc-opt: error: pass annotate-cost needs the fact 'groups'"),
        (["net.edp", "-t", "h10"], 2, "edpc-opt: error: there is no target 'h10'; did you mean 'h100'?"),
        (["net.edp", "--set", "a=1"], 2, "edpc-opt: error: --set changes a constant of a target; give one with --target"),
        (["net.edp", "--pass-file", "no.py"], 2, "edpc-opt: error: there is no file no.py"),
        (["net.edp", "--print-ir-after", "zzz"], 2, "edpc-opt: error: --print-ir-after: the pipeline does not run a pass 'zzz'"),
        (["net.edp", "-p", "import-cleanup,apply-precision"], 2, "edpc-opt: error: pass apply-precision needs a target"),
    ],
)
def test_failures_are_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    (here / "binary.edp").write_bytes(b"\xff\xfe\x00")
    (here / "empty.edp").write_text("")
    (here / "wrong.edp").write_text(TEXT.replace("(fp32[4]) ->", "(fp16[4]) ->"))
    answer = run(capsys, *arguments)
    assert answer[0] == code
    assert answer[1] == ""
    assert answer[2].startswith(message)
    assert answer[2].count("\n") == 1


def test_debug_shows_the_traceback(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = run(capsys, "no.edp", "--debug")[2]
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("edpc-opt: error: cannot read")


def test_what_is_printed_around_passes_goes_to_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--print-ir-before", "hate-gelu", "--print-ir-after", "changed", "--timing", "--dump-ir", "dump"]
    code, out, err = run(capsys, "net.edp", "--pass-file", "mine.py", "-p", "hate-gelu,make-gelu", *flags)
    assert code == 0
    assert parse_graph(out).op("y").kind == "gelu"
    headings = [line for line in err.splitlines() if line.startswith("// ---")]
    assert headings == ["// ----- before hate-gelu -----", "// ----- after make-gelu -----"]
    assert err.splitlines()[-1].startswith("total")
    assert sorted(path.name for path in (here / "dump").iterdir()) == ["00-input.edp", "01-hate-gelu.edp", "02-make-gelu.edp"]


def test_as_a_process(here: Path) -> None:
    """The script's exit code is that of the failure, and a reader that stops reading is no error."""
    call = [sys.executable, "-m", "edpc.cli.opt"]
    done = subprocess.run([*call, "no.edp"], cwd=here, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    lines = "".join(f"  %n{i} = input() : fp32[4]\n" for i in range(5_000))
    (here / "long.edp").write_text(f"graph @long {{\n{lines}}}\n")
    shell = f"{sys.executable} -m edpc.cli.opt long.edp | head -1"
    done = subprocess.run(
        shell,
        shell=True,
        cwd=here,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("graph @long {\n", "")
