"""An ATen program as plain data: what the readers of torch objects and of `.pt2` archives both answer.

A size is a number or, where it depends on a free dimension, an expression in the notation torch.export writes
(`Mul(Integer(2), Symbol('s0'))`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Size = int | str
SourceKind = Literal["input", "parameter", "buffer", "constant", "number"]


@dataclass(frozen=True, slots=True)
class Ref:
    """An argument that is a value of the program, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Type of a tensor value: element type (a key of `DTYPE_BITS`), shape, and strides in elements where they are known."""

    dtype: str
    shape: tuple[Size, ...]
    strides: tuple[Size, ...] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One call.

    Attributes:
        name: of the node in its graph.
        target: operator without its overload: `aten.linear`, `higher_order.cond`.
        arguments: by name of the operator's schema, by position (`"0"`) where it has none; absent ones have their default.
            Values are `Ref`, `Body`, numbers, strings, None and lists of these.
        results: names of the values it answers; None for one that is no tensor and no number.
        module_path: dotted path of the module that calls it.
    """

    name: str
    target: str
    arguments: dict[str, Any]
    results: tuple[str | None, ...]
    module_path: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A value that the program is given.

    Attributes:
        name: of the value.
        kind: what it is.
        target: qualified name of a parameter, buffer or constant in the module.
        storage: the same for tensors that share their memory as a whole; empty where nothing is known.
        number: of kind `number`, where it is known.
    """

    name: str
    kind: SourceKind
    target: str = ""
    storage: str = ""
    number: float | None = None


@dataclass(slots=True)
class Body:
    """A graph: inputs by name, nodes in order, outputs as arguments, and the type (or size) of every value."""

    name: str
    inputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    values: dict[str, TensorInfo | Size | None] = field(default_factory=dict)


@dataclass(slots=True)
class Program:
    """A whole program.

    Attributes:
        body: its graph.
        sources: what each of the body's inputs is, in their order.
        state: values that outlive the call: what a functional program writes back to its buffers.
        dimension_names: name a person gave to a free dimension, by its symbol.
    """

    body: Body
    sources: list[Source]
    state: list[Any] = field(default_factory=list)
    dimension_names: dict[str, str] = field(default_factory=dict)


def references(argument: Any) -> list[str]:
    """Names of the values an argument holds, in order."""
    if isinstance(argument, Ref):
        return [argument.name]
    if isinstance(argument, list | tuple):
        return [name for each in argument for name in references(each)]
    if isinstance(argument, dict):
        return [name for each in argument.values() for name in references(each)]
    return []
