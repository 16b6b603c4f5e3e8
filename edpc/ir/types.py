"""Element types and tensor types."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

# Width of one element in bits. `sequence`, `map` and `optional` are opaque: they hold tensors, they are none.
DTYPE_BITS: dict[str, int] = {
    "fp64": 64,
    "fp32": 32,
    "fp16": 16,
    "bf16": 16,
    "fp8e4m3": 8,
    "fp8e5m2": 8,
    "fp8e8m0": 8,
    "fp6": 6,
    "fp4": 4,
    "int64": 64,
    "int32": 32,
    "int16": 16,
    "int8": 8,
    "int4": 4,
    "int2": 2,
    "uint64": 64,
    "uint32": 32,
    "uint16": 16,
    "uint8": 8,
    "uint4": 4,
    "uint2": 2,
    "bool": 8,
    "complex64": 64,
    "complex128": 128,
    "string": 64,
    "sequence": 0,
    "map": 0,
    "optional": 0,
}

FLOAT_DTYPES = frozenset({"fp64", "fp32", "fp16", "bf16", "fp8e4m3", "fp8e5m2", "fp8e8m0", "fp6", "fp4"})


@dataclass(frozen=True, slots=True)
class TensorType:
    """An element type and a shape.

    Attributes:
        dtype: a key of `DTYPE_BITS`.
        shape: one entry per axis, None where the size depends on data; None as a whole where even the rank is unknown.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def is_static(self) -> bool:
        """Whether every dimension is known."""
        return self.shape is not None and None not in self.shape

    @property
    def numel(self) -> int:
        """Number of elements; an unknown dimension counts as one, and who uses the figure must say so."""
        return prod(self.dims())

    @property
    def num_bytes(self) -> int:
        """Size in bytes, sub-byte elements packed."""
        return -(-self.numel * DTYPE_BITS[self.dtype] // 8)

    def dims(self) -> tuple[int, ...]:
        """The shape with unknown dimensions as one and an unknown rank as a scalar."""
        shape = self.shape or ()
        return tuple([1 if d is None else d for d in shape])

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[*]"
        return f"{self.dtype}[{','.join('?' if d is None else str(d) for d in self.shape)}]"
