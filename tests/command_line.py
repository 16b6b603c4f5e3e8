"""Calling `edpc` in tests: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from edpc.cli.main import cli

ROOT = Path(__file__).parents[1]


def edpc(*args: str, **options: object) -> Result:
    return CliRunner().invoke(cli, list(args), **options)  # type: ignore[arg-type]


def refused(result: Result, code: int, *words: str) -> None:
    """One sentence on stderr, nothing on stdout, no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("edpc: error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def process(*args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edpc.cli.main", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )
