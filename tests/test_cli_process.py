"""The command line as a process: settings from files and the environment, terminals, pipes, what is imported."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from edpc import __version__
from edpc.cli import output
from tests.chain_model import chain, save
from tests.command_line import ROOT, edpc, process, refused


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every test in a folder of its own, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("EDPC_") or name in ("NO_COLOR", "FORCE_COLOR")]:
        monkeypatch.delenv(name)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return save(chain(), tmp_path, "chain.onnx")


# --- settings ------------------------------------------------------------------------------------------------


def test_command_line_over_environment_over_file(model: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.edpc]\ntarget = "kpu"\nemit = ["json"]\n')

    def target(*args: str, **env: str) -> str:
        name: str = json.loads(edpc(model, *args, env=env).stdout)["target"]["name"]
        return name

    assert target() == "kpu"
    assert target(EDPC_TARGET="h100") == "h100"
    assert target("--target", "tpu", EDPC_TARGET="h100") == "tpu"
    (tmp_path / "edpc.toml").write_text('target = "cpu"\nemit = "json"\n[set]\n"static_power" = "1W"\n')
    assert target() == "cpu"


def test_tables_of_the_file_become_pairs(model: str, tmp_path: Path) -> None:
    (tmp_path / "edpc.toml").write_text('target = "h100"\nemit = "json"\n[set]\nhbm.bandwidth = "1GB/s"\n')
    given = edpc(model, "-t", "h100", "-e", "json", "--set", "hbm.bandwidth=1GB/s").stdout
    assert edpc(model).stdout == given


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("edpc.toml", "target = ", "cannot read edpc.toml"),
        ("edpc.toml", 'taget = "h100"', "edpc.toml: edpc has no option 'taget'; did you mean 'target'?"),
        ("pyproject.toml", "[tool.edpc]\nbatch = []", "pyproject.toml: batch: "),
        ("pyproject.toml", "[tool]\nedpc = 3", "pyproject.toml: the settings of edpc must be a table"),
        ("edpc.toml", "batch = 1979-05-27", "must be a text"),
        ("edpc.toml", "batch = 'many'", "edpc.toml: batch: 'many' is not a valid integer"),
    ],
)
def test_a_bad_file_is_one_sentence(model: str, tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    result = edpc(model)
    refused(result, 2, words)


# --- processes -----------------------------------------------------------------------------------------------


def test_help_and_version_import_next_to_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom edpc.cli.main import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'networkx', 'numpy', 'onnx', 'rich', 'msgspec', 'torch', 'onnxruntime', 'pandas', 'matplotlib', 'jinja2'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "--print-ir-after" in done.stdout
    assert "targets" in done.stdout


def test_compiling_never_imports_what_it_does_not_need(model: str) -> None:
    code = (
        "import sys\nfrom edpc.cli.main import cli\n"
        f"try:\n    cli.main([{model!r}])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'rich', 'torch', 'onnxruntime', 'pandas', 'matplotlib', 'jinja2', 'sympy', 'scipy', 'vl_convert'}\n"
        "heavy |= {'distributed', 'pyarrow', 'transformers'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


def test_version_and_bare_call() -> None:
    assert edpc("--version").stdout == f"edpc {__version__}\n"
    assert edpc().stdout.startswith("Usage: edpc [OPTIONS] MODEL")


def test_pipes_are_plain_and_colour_can_be_forced(model: str) -> None:
    plain = process(model)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert "\x1b" not in plain.stdout
    assert "\x1b[" in process(model, FORCE_COLOR="1", COLUMNS="200").stdout
    bare = process(model, FORCE_COLOR="1", NO_COLOR="1", COLUMNS="200").stdout
    assert not any(f"\x1b[{colour}" in bare for colour in ("3", "1;3", "9"))
    assert "\x1b" not in process(model, FORCE_COLOR="1", TERM="dumb").stdout


def test_a_reader_that_leaves_early_is_no_error(model: str) -> None:
    command = f"{sys.executable} -m edpc.cli.main {model} -t all | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_names_that_do_not_fit_the_encoding_are_escaped(tmp_path: Path) -> None:
    made = chain()
    made.graph.node[0].name = "größe"
    path = save(made, tmp_path, "m.onnx")
    done = process(path, PYTHONIOENCODING="ascii", FORCE_COLOR="1", COLUMNS="200")
    assert done.returncode == 0, done.stderr


def test_completion_knows_targets() -> None:
    done = process(COMP_WORDS="edpc --target h", COMP_CWORD="2", _EDPC_COMPLETE="bash_complete")
    assert "plain,h100" in done.stdout.splitlines()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_work_shows_a_sign_of_life_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_PATIENCE_S", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    for stream, wanted, expected in ((Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with output.sign_of_life("compiling [bold]net[/bold]", wanted=wanted):
            time.sleep(0.5 if expected else 0.05)
        assert ("compiling [bold]net[/bold]" in stream.getvalue()) is expected


def test_an_onnx_model_needs_no_torch_and_torch_inputs_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import edpc\n"
        "from edpc.errors import EdpcError\n"
        "print(edpc.compile('tests/models/resnet18.onnx', target='h100', batch=1).model.macs)\n"
        "for source in ('block:mlp', 'tests.torch_networks:mlp'):\n"
        "    try:\n        edpc.load(source)\n"
        "    except EdpcError as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    macs, *told = done.stdout.splitlines()
    assert macs == "1814073344", done.stderr
    assert told == [
        f"{what} needs PyTorch; install it with: pip install edpc[torch]" for what in ("block:mlp", "tests.torch_networks:mlp")
    ]


def annotate(model: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edpc.cli.main", model, "-t", "kpu", "-e", "onnx"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, env=environment)


def test_binary_forms_do_not_go_to_a_terminal(model: str) -> None:
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    main, terminal = pty.openpty()
    try:
        done = annotate(model, terminal)
    finally:
        os.close(main)
        os.close(terminal)
    assert done.returncode == 2
    assert done.stderr == b"edpc: error: onnx is binary and does not go on a terminal; say with -o where to\n"


def test_binary_forms_go_down_a_pipe(model: str) -> None:
    done = annotate(model, subprocess.PIPE)
    assert {p.key for p in onnx.load_from_string(done.stdout).metadata_props} >= {"edpc.target", "edpc.edp_js"}
