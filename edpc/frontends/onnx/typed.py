"""What reading and shape inference hand to the lowering: ONNX graphs whose every value has a type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edpc.ir.types import TensorType

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

# A tensor of at most this many elements is folded when its value follows from the graph.
MAX_FOLDED_ELEMENTS = 1024


@dataclass(slots=True)
class TypedGraph:
    """One graph (the main one, or a body of If, Loop or Scan) and everything a lowering needs to know of its values.

    Attributes:
        name: the graph's name.
        nodes: in topological order, local functions (and schema functions without a rule of their own) inlined.
        types: the type of every value of this graph: inputs, initializers and every node output; never the name ''.
            A sequence, map or optional has that word as its dtype and no shape. A body does not repeat outer values.
        constants: values of small tensors (`MAX_FOLDED_ELEMENTS` or fewer): initializers, Constant nodes and folded results.
        inputs: names of the graph's inputs in order, without those that are initializers.
        outputs: names of the graph's outputs in order.
        parameters: names of initializers, dense and sparse.
        subgraphs: typed bodies by index of the node and name of the attribute.
        trip_counts: iterations of a Loop or Scan by index of the node; None where they are not known.
        folded: indices of nodes whose every output is in `constants`, so that nothing is left to compute at run time.
        outer: the graph this body stands in; None for the main graph.
    """

    name: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)
    subgraphs: dict[int, dict[str, TypedGraph]] = field(default_factory=dict)
    trip_counts: dict[int, int | None] = field(default_factory=dict)
    folded: set[int] = field(default_factory=set)
    outer: TypedGraph | None = None

    def type_of(self, name: str) -> TensorType | None:
        """The type of a value seen from this graph, outer graphs included; None where nobody has it."""
        graph: TypedGraph | None = self
        while graph is not None:
            if name in graph.types:
                return graph.types[name]
            graph = graph.outer
        return None

    def constant(self, name: str) -> NDArray[Any] | None:
        """The folded value of a name seen from this graph, outer graphs included; None where it is not known."""
        graph: TypedGraph | None = self
        while graph is not None:
            if name in graph.types:
                return graph.constants.get(name)
            graph = graph.outer
        return None


@dataclass(slots=True)
class TypedModel:
    """A model whose values are typed.

    Attributes:
        graph: the main graph.
        opsets: version by operator domain; the default domain is ''.
        ir_version, producer, producer_version: as the file says.
        metadata: the model's `metadata_props`.
        notes: what a reader of the results must know (values of unknown shape, an opset newer than known), one sentence each.
    """

    graph: TypedGraph
    opsets: dict[str, int]
    ir_version: int = 0
    producer: str = ""
    producer_version: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
