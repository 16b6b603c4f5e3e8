"""Which file each form goes to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edpc.emit import EmitKind, emit_kind_of


@dataclass(frozen=True, slots=True)
class Place:
    """One thing to write: a form of the reports numbered `which`, to a file, or to stdout where `path` is None."""

    kind: EmitKind
    which: tuple[int, ...]
    path: Path | None


def places(output: str | None, kinds: Sequence[EmitKind], model: str, targets: Sequence[str]) -> list[Place]:
    """Where everything goes.

    Args:
        output: as given to -o. A folder (one that exists, or a name that ends in a slash) takes files named after the model;
            a single file has just this name; several have it as their stem. None and `-` are stdout.
        kinds: forms to write.
        model: as given on the command line.
        targets: names of the targets; forms that hold one report make a file for each.
    """
    parts: list[tuple[EmitKind, tuple[int, ...]]] = []
    for kind in kinds:
        numbers = range(len(targets))
        parts += [(kind, (number,)) for number in numbers] if kind.one_each else [(kind, tuple(numbers))]
    if output is None or output == "-":
        return [Place(kind, which, None) for kind, which in parts]
    is_folder = output.endswith(("/", os.sep)) or Path(output).is_dir()
    if len(parts) == 1 and not is_folder:
        return [Place(*parts[0], Path(output))]
    base = Path(output) / _stem(model) if is_folder else Path(output)
    named = None if is_folder else emit_kind_of(base)
    stem = base.name.removesuffix(named.suffix) if named else base.name
    found = []
    for kind, which in parts:
        middle = f".{_safe(targets[which[0]])}" if kind.one_each and len(targets) > 1 else ""
        found.append(Place(kind, which, base.with_name(f"{stem}{middle}{kind.suffix}")))
    return found


def _stem(model: str) -> str:
    return _safe(Path(model).stem) if model != "-" else "model"


def _safe(name: str) -> str:
    """The name as a part of a file name."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name) or "model"
