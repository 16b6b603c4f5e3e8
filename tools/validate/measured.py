"""The measured kernels: rows of CSV files as arrays, and the part of them that no fit may see."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from edpc.machine.table import Flags, Floats, Ints, Names

FOLDER = Path(__file__).parents[3] / "shared" / "measurements"
# What one layer of a network is: all its rows fall on one side of the split.
LAYER = {
    "gemm": ("N", "K"),
    "linear": ("N", "K"),
    "matmul": ("batch", "M", "N", "K"),
    "attention_prefill_causal": ("Hq", "Hkv", "D", "window"),
    "attention_decode": ("Hq", "Hkv", "D", "window"),
    "attention_encoder_bidir": ("H", "D", "batch"),
}
_VECTOR_LAYER = ("rows", "cols", "n")


class Rows:
    """Measured kernels, one a row.

    Attributes:
        op, hardware, precision, notes: columns of the file. latency_s, power_w: measured, power NaN where it was not.
        layer: the shape key by which rows are kept apart. held_out: whether no fit may see the row.
    """

    def __init__(self, lines: Sequence[dict[str, str]]) -> None:
        """Reads lines of one file; shapes are `M=1;N=32;K=64`."""
        self._lines = lines
        self._shapes = [dict(part.split("=") for part in line["shape"].split(";") if "=" in part) for line in lines]
        self.op, self.hardware, self.precision, self.notes = (
            np.array([line[name] for line in lines], str) for name in ("op", "hardware", "precision", "notes")
        )
        self.latency_s = np.array([float(line["latency_s"]) for line in lines])
        self.power_w = np.array([float(line["power_w"] or "nan") for line in lines])
        for shape, line in zip(self._shapes, lines, strict=True):
            shape.setdefault("batch", line["batch"])
        self.layer: Names = np.array([_layer(line["op"], shape) for line, shape in zip(lines, self._shapes, strict=True)], str)
        self.held_out: Flags = np.array([held_out(layer) for layer in self.layer], bool)

    def __len__(self) -> int:
        return len(self.latency_s)

    def at(self, index: Ints) -> Rows:
        """The rows at some positions."""
        return Rows([self._lines[i] for i in index.tolist()])

    def axis(self, *names: str) -> Floats:
        """A size, under the first of these names that a row has; 0 where it has none. `batch` is a column of the file."""
        return np.array([next((float(s[name]) for name in names if name in s), 0.0) for s in self._shapes])


def _layer(op: str, shape: dict[str, str]) -> str:
    return ";".join(f"{name}={shape[name]}" for name in LAYER.get(op, _VECTOR_LAYER) if name in shape)


def held_out(layer: str) -> bool:
    """Whether rows of a layer are kept out of every fit: by the parity of a hash of its shape, so about half of all layers."""
    return hashlib.sha256(layer.encode()).digest()[0] % 2 == 1


@cache
def _lines(name: str) -> tuple[dict[str, str], ...]:
    with (FOLDER / name).open(newline="") as file:
        return tuple(csv.DictReader(file))


def read(name: str, where: Callable[[dict[str, str]], bool]) -> Rows:
    """The rows of a file for which `where` holds, in its order.

    Args:
        name: of a file of the measurements.
        where: judges a line by its columns.

    Raises:
        FileNotFoundError: the measurements are not beside the project.
    """
    return Rows([line for line in _lines(name) if where(line)])
