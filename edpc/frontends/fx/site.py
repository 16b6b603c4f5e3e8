"""What a lowering sees: the call it lowers, the values in scope, and how to add operators for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edpc.errors import ModelError
from edpc.frontends.fx.aliasing import storage_written
from edpc.frontends.fx.program import Body, Node, Ref, TensorInfo, references
from edpc.frontends.fx.sizes import Sizes
from edpc.frontends.onnx.builder import Builder
from edpc.ir import Attribute, Location, TensorType, Value

# A call whose type the program does not say still has results.
_UNTYPED = TensorType("fp32", None)

Table = Mapping[str, Callable[["Site"], None]]


class Scope:
    """The values of one graph.

    Attributes:
        body: the graph. builder: what is being built. sizes: evaluates sizes. trip_count: iterations by name of loop.
        table: from operators to lowerings.
        entries: what each lowered value is. written: names of values whose memory an in-place call changes later.
        bases: which value each view shares its memory with.
    """

    def __init__(self, body: Body, builder: Builder, sizes: Sizes, trip_count: Mapping[str, int], table: Table) -> None:
        self.body = body
        self.table = table
        self.builder = builder
        self.sizes = sizes
        self.trip_count = trip_count
        self.entries: dict[str, Value] = {}
        self.numbers: dict[str, float] = {}
        self.bases, self.written = storage_written(body)
        self.uses = Counter(name for node in body.nodes for name in references(list(node.arguments.values())))
        self.uses.update(references(body.outputs))
        self._types: dict[str, TensorType] = {}

    def inside(self, body: Body) -> Scope:
        """A scope for a graph nested in this one."""
        return Scope(body, self.builder, self.sizes, self.trip_count, self.table)

    def type(self, name: str) -> TensorType:
        """The type of a value; a number is an integer scalar."""
        found = self._types.get(name)
        if found is None:
            info = self.body.values.get(name)
            if isinstance(info, TensorInfo):
                found = TensorType(info.dtype, tuple(self.sizes(size) for size in info.shape))
            else:
                found = TensorType("int64", ()) if name in self.body.values else _UNTYPED
            self._types[name] = found
        return found

    def is_tensor(self, name: str) -> bool:
        """Whether the value is a tensor rather than a number."""
        return isinstance(self.body.values.get(name), TensorInfo) or name in self.entries

    def value(self, name: str) -> Value:
        """What the name stands for; a number that is read as a tensor becomes a constant.

        Raises:
            ModelError: nothing produces it.
        """
        entry = self.entries.get(name)
        if entry is None:
            info = self.body.values.get(name)
            if isinstance(info, TensorInfo) or name not in self.body.values:
                raise ModelError(f"graph {self.body.name!r} reads the value {name!r}, which nothing produces; export it again")
            entry = self.entries[name] = self.builder.source(name, "constant", self.type(name), Location(name))
        return entry

    def number(self, argument: Any) -> float | None:
        """An argument as a number, where it is one that is known."""
        if isinstance(argument, Ref):
            if argument.name in self.numbers:
                return self.numbers[argument.name]
            info = self.body.values.get(argument.name)
            return None if isinstance(info, TensorInfo) else self.sizes(info)
        return argument if isinstance(argument, int | float) else None


class Site:
    """One call of the program, about to be lowered.

    Attributes:
        node: the call. scope: the values it can name. in_place: whether it writes its result over its first operand.
    """

    __slots__ = ("in_place", "location", "node", "scope")

    def __init__(self, scope: Scope, node: Node, in_place: bool = False) -> None:
        self.scope = scope
        self.node = node
        self.in_place = in_place
        # A call's own name says as much as `conv2d_16`; where it stands is what people know it by.
        named = f"{node.module_path}.{node.name}" if node.module_path else node.name
        self.location = Location(named, node.target, node.module_path)

    # --- arguments ----------------------------------------------------------------------------------------------

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument as the program gives it, or the default of the operator's schema."""
        value = self.node.arguments.get(name)
        return default if value is None else value

    def has(self, name: str) -> bool:
        """Whether an argument is given and not None."""
        return self.node.arguments.get(name) is not None

    def is_tensor(self, name: str) -> bool:
        """Whether an argument is one tensor."""
        value = self.node.arguments.get(name)
        return isinstance(value, Ref) and self.scope.is_tensor(value.name)

    def tensor(self, name: str) -> Value:
        """An argument that is a tensor, or a number as a scalar of the result's type.

        Raises:
            ModelError: it is absent although the operator needs it.
        """
        value = self.node.arguments.get(name)
        if isinstance(value, Ref):
            return self.scope.value(value.name)
        if isinstance(value, bool | int | float):
            return self.number(name, value, self.result_type().dtype)
        raise ModelError(f"node {self.node.name!r} ({self.node.target}) lacks the operand {name!r}; export the program again")

    def given(self, *names: str) -> list[Value]:
        """Those of these arguments that are given, as tensors, lists flattened."""
        found: list[Value] = []
        for name in names:
            value = self.node.arguments.get(name)
            if isinstance(value, list):
                found += [self.scope.value(each) for each in references(value) if self.scope.is_tensor(each)]
            elif value is not None:
                found.append(self.tensor(name))
        return found

    def tensors(self) -> list[Value]:
        """Every tensor among the arguments, in their order."""
        names = references(list(self.node.arguments.values()))
        return [self.scope.value(name) for name in names if self.scope.is_tensor(name)]

    def type(self, name: str) -> TensorType:
        """The type of an argument that is a tensor."""
        return self.type_of(self.tensor(name))

    def known(self, name: str, default: float | None = None) -> float | None:
        """An argument that is one number; the default where it is absent, None where it depends on data."""
        value = self.node.arguments.get(name)
        return default if value is None else self.scope.number(value)

    def integer(self, name: str, default: int) -> int:
        """An argument that is one integer; the default also where it depends on data."""
        value = self.known(name, default)
        return default if value is None else int(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """An argument that is a switch."""
        return bool(self.argument(name, default))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """An argument that is a list of integers or one; None where it is absent or depends on data."""
        value = self.node.arguments.get(name)
        if value is None or isinstance(value, str):
            return None
        found = [self.scope.number(each) for each in (value if isinstance(value, list) else [value])]
        return None if None in found else tuple(int(each) for each in found if each is not None)

    # --- results ------------------------------------------------------------------------------------------------

    def wants(self, result: int) -> bool:
        """Whether somebody reads that result."""
        results = self.node.results
        name = results[result] if result < len(results) else None
        return name is not None and self.scope.uses[name] > 0

    def result_type(self, result: int = 0) -> TensorType:
        """The type of a result."""
        name = self.node.results[result] if result < len(self.node.results) else None
        return _UNTYPED if name is None else self.scope.type(name)

    def strides(self, name: str) -> tuple[int | None, ...] | None:
        """The strides of a value of the program, in elements, where they are known."""
        info = self.scope.body.values.get(name)
        if not isinstance(info, TensorInfo) or info.strides is None:
            return None
        return tuple(self.scope.sizes(each) for each in info.strides)

    def type_of(self, value: Value) -> TensorType:
        """The type of any value."""
        return self.scope.builder.graph.type_of(value)

    def bind(self, result: int, value: Value) -> None:
        """Says what a result of the call is."""
        name = self.node.results[result] if result < len(self.node.results) else None
        if name is not None:
            self.scope.entries[name] = value

    def emit(
        self, kind: str, operands: Sequence[Value], outputs: Sequence[TensorType], part: str = "", /, **options: Attribute
    ) -> Value:
        """Adds an operator of this call; answers its first result."""
        stem = f"{self.node.name}.{part}" if part else self.node.name
        return Value(self.scope.builder.add(stem, kind, operands, outputs, self.location, options))

    def emit_results(self, kind: str, operands: Sequence[Value], /, **options: Attribute) -> None:
        """Adds one operator that computes the first result of the call and every other that somebody reads."""
        count = len(self.node.results)
        wanted = [result for result in range(count) if self.wants(result)] or list(range(min(count, 1)))
        first = self.emit(kind, operands, [self.result_type(result) for result in wanted], "", **options)
        for number, result in enumerate(wanted):
            self.bind(result, Value(first.node, number))

    def number(self, stem: str, value: float, dtype: str) -> Value:
        """Adds a scalar constant."""
        name = f"{self.node.name}.{stem}"
        return self.scope.builder.source(name, "constant", TensorType(dtype, ()), self.location, value=(value,))

    def note(self, text: str) -> None:
        """Adds a note about this call."""
        self.scope.builder.note(f"{self.node.name} ({self.node.target}): {text}")
