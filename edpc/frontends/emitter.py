"""What the expansion of a composite needs of the node it expands, whichever frontend reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edpc.ir import Attribute, TensorType, Value


class Emitter(Protocol):
    """A node of a model that becomes several operators."""

    def type_of(self, value: Value, /) -> TensorType:
        """The type of any value."""

    def result_type(self, result: int = 0, /) -> TensorType:
        """The type the model gives a result of the node."""

    def wants(self, result: int, /) -> bool:
        """Whether somebody may read that result."""

    def bind(self, result: int, value: Value, /) -> None:
        """Says what a result of the node is."""

    def emit(
        self, kind: str, operands: Sequence[Value], outputs: Sequence[TensorType], part: str = "", /, **options: Attribute
    ) -> Value:
        """Adds an operator of this node; answers its first result."""

    def number(self, stem: str, value: float, dtype: str, /) -> Value:
        """Adds a scalar constant."""
