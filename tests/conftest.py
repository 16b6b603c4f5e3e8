"""Plain pytest runs every `.edp` file under `tests/filecheck`: each RUN line of it is a test. `lit` runs the same files.

A RUN line is a pipe of `edpc-opt` and `filecheck`, run in this process. `not` before a command expects it to fail; `2>&1` sends
stderr along the pipe; `%s` is the file, `%S` its folder, `%t` a path that may be written to.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

FILECHECK = Path(__file__).parent / "filecheck"
_RUN = re.compile(r"^\s*//\s*RUN:\s*(.+?)\s*$", re.MULTILINE)


@dataclass
class Done:
    """What a command answered."""

    code: int
    out: str
    err: str


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> EdpFile | None:
    if file_path.suffix == ".edp" and FILECHECK in file_path.parents:
        return EdpFile.from_parent(parent, path=file_path)
    return None


class EdpFile(pytest.File):
    """An `.edp` file: one test per RUN line. What one of them writes is there for the next, and gone after the last."""

    def setup(self) -> None:
        self.scratch = tempfile.TemporaryDirectory(prefix="edpc-filecheck-")

    def teardown(self) -> None:
        self.scratch.cleanup()

    def collect(self) -> Iterator[RunLine]:
        lines = _RUN.findall(self.path.read_text(encoding="utf-8"))
        if not lines:
            raise self.CollectError(f"{self.path} has no RUN line")
        for number, line in enumerate(lines, 1):
            yield RunLine.from_parent(self, name=f"RUN{number if len(lines) > 1 else ''}", line=line)


class RunLine(pytest.Item):
    """One RUN line."""

    def __init__(self, *, line: str, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.line = line

    def runtest(self) -> None:
        assert isinstance(self.parent, EdpFile)
        scratch = Path(self.parent.scratch.name)
        places = {"%s": str(self.path), "%S": str(self.path.parent), "%t": str(scratch / self.path.stem)}
        with contextlib.chdir(scratch):
            data = ""
            for stage in _stages(self.line):
                words = [re.sub("%[sSt]", lambda found: places[found[0]], word) for word in stage]
                data = _run(words, data)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None) -> str:  # type: ignore[override]
        if excinfo.errisinstance(AssertionError):
            return f"{self.path}\n// RUN: {self.line}\n{excinfo.value}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name}: {self.line}"


def _stages(line: str) -> list[list[str]]:
    """The words of each command of a pipe."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    stages: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    return stages


def _run(words: list[str], data: str) -> str:
    """Runs one command on its input; answers its output, and fails where its exit code is not the one expected."""
    fails = words[0] == "not"
    both = "2>&1" in words
    tool, *arguments = [word for word in words[fails:] if word != "2>&1"]
    done = TOOLS[tool](arguments, data)
    assert (done.code != 0) == fails, f"{tool} answered {done.code}\n{done.err}{done.out}"
    assert "Traceback (most recent call last)" not in done.err, done.err
    return done.out + done.err if both else done.out


def _edpc_opt(arguments: list[str], data: str) -> Done:
    from edpc.cli.opt import main

    return _captured(lambda: main(arguments), data)


def _filecheck(arguments: list[str], data: str) -> Done:
    from filecheck.matcher import Matcher
    from filecheck.options import parse_argv_options

    return _captured(lambda: Matcher.from_opts(parse_argv_options(["filecheck", *arguments])).run(), data)


def _captured(call: object, data: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(io.BytesIO(data.encode()), encoding="utf-8")
    with mock.patch.object(sys, "stdin", stdin), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call()  # type: ignore[operator]
    return Done(int(code), out.getvalue(), err.getvalue())


TOOLS = {"edpc-opt": _edpc_opt, "filecheck": _filecheck}
