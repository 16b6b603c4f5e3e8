"""The measured target as a file: where it is kept, and what is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from edpc.errors import UsageError
from edpc.target import Memory, Quantity, Setting, Target, Unit

NAME = "cpu-host"
VARIABLE = "EDPC_CPU_HOST"
SCHEMA = "edpc/cpu-host-v1"
_MEND = "run `edpc calibrate`, which takes about a minute"


@dataclass(frozen=True)
class Calibration:
    """What was measured on a machine; everything else is as of the target `cpu`.

    Attributes:
        schema: `SCHEMA`. date, cpu, runtime: when, on what and with which ONNX Runtime. threads: numbers of threads measured.
        units, memories, static_power, parameters: as of `Target`. notes: what every report must say.
    """

    schema: str
    date: str
    cpu: str
    runtime: str
    threads: tuple[int, ...]
    units: tuple[Unit, ...]
    memories: tuple[Memory, ...]
    static_power: Quantity
    parameters: dict[str, Quantity]
    notes: tuple[str, ...]


def default_path() -> Path:
    """Where the target of this machine is kept: `$EDPC_CPU_HOST`, else in the user's data folder."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "edpc" / f"{NAME}.json"


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Writes the file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    import msgspec

    content = msgspec.json.format(msgspec.json.encode(calibration), indent=1)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; choose a place with --output") from None


def host_target(base: Target, path: Path) -> Target:
    """The target that a file holds.

    Args:
        base: the target `cpu`, which gives rules, modifiers and precisions.
        path: of the file.

    Raises:
        UsageError: there is none, or it is not one that this version wrote.
    """
    import msgspec

    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except FileNotFoundError:
        raise UsageError(f"this machine has not been calibrated (there is no {path}): {_MEND}") from None
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"{path} holds no calibration ({error}): {_MEND}") from None
    if found.schema != SCHEMA or not found.threads:
        raise UsageError(f"{path} is of another version ({found.schema}): {_MEND}")
    counts = tuple(str(n) for n in found.threads)
    return replace(
        base,
        name=NAME,
        summary=f"{found.cpu}, ONNX Runtime {found.runtime}, calibrated {found.date}",
        units=found.units,
        memories=found.memories,
        static_power=found.static_power,
        parameters=found.parameters,
        settings={
            "threads": Setting(counts[-1], counts, "threads that share a node's work; each number has constants of its own"),
            "graph": replace(base.settings["graph"], default="runtime"),
        },
        notes=found.notes,
    )
