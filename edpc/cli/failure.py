"""What the command line says of a failure, and the reproducer it leaves behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edpc.errors import EdpcError, PassError


def explain(error: Exception) -> str:
    """The failure in one sentence; a pass that failed leaves its reproducer in the working directory."""
    if isinstance(error, PassError) and error.reproducer is not None:
        return f"{error}; {_keep(error.reproducer)}"
    if isinstance(error, EdpcError):
        return str(error)
    said = f": {error}" if str(error) else ""
    return f"internal error, {type(error).__name__}{said}; --debug shows where"


def _keep(reproducer: str) -> str:
    """Writes the reproducer under a name that follows from its content; answers what to tell the user."""
    digest = hashlib.sha256(reproducer.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    path = Path(f"edpc-reproducer-{digest}.edp")
    try:
        path.write_text(reproducer, encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        return f"its reproducer could not be written to ./{path}: {problem.strerror or problem}"
    return f"replay it with: edpc-opt ./{path}"
