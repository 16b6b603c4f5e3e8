"""Small ONNX models for tests: nodes, shapes by name, and what came of them in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnx import helper as h

from edpc.frontends import load
from edpc.ir import Graph, Operator
from edpc.ir.verify import verify
from edpc.operators import KINDS, work

Typed = tuple[int, Sequence[int | str]]
DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml")


def tensor(name: str, shape: Sequence[int], dtype: int = TensorProto.FLOAT) -> TensorProto:
    """An initializer without payload: its data is said to be in a file that does not exist."""
    made = TensorProto(name=name, data_type=dtype, dims=shape, data_location=TensorProto.EXTERNAL)
    made.external_data.add(key="location", value="absent.bin")
    return made


def known(name: str, values: NDArray[np.generic]) -> TensorProto:
    """An initializer with its elements."""
    return onnx.numpy_helper.from_array(values, name)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str] | Typed],
    outputs: Sequence[str],
    initializers: Sequence[TensorProto] = (),
    opset: int = 21,
) -> onnx.ModelProto:
    """A model; an input is a shape (of fp32) or (element type, shape)."""
    infos = []
    for name, given in inputs.items():
        is_typed = len(given) == 2 and isinstance(given[1], list | tuple)
        dtype, shape = (given[0], given[1]) if is_typed else (TensorProto.FLOAT, given)
        infos.append(h.make_tensor_value_info(name, dtype, list(shape)))
    graph = h.make_graph(
        list(nodes), "net", infos, [onnx.ValueInfoProto(name=name) for name in outputs], initializer=list(initializers)
    )
    imports = [h.make_opsetid("", opset), *(h.make_opsetid(domain, 1) for domain in DOMAINS)]
    return h.make_model(graph, opset_imports=imports)


def lowered(*args: object, trip_count: Mapping[str, int] | None = None, **kwargs: object) -> Graph:
    """The verified graph of `model(...)`, every operator of which has a work rule."""
    graph = load(model(*args, **kwargs), trip_count=trip_count)  # type: ignore[arg-type]
    checked(graph)
    return graph


def checked(graph: Graph) -> None:
    """Verifies the graph and counts all of its work."""
    verify(graph, frozenset(KINDS))
    for name in graph.compute_order():
        work(graph.op(name))


def macs(graph: Graph) -> int:
    """Multiply-accumulates of the whole graph."""
    return sum(work(graph.op(name)).macs for name in graph.compute_order())


def kinds(graph: Graph) -> list[str]:
    """Kinds of the operators that compute or move something, in order."""
    return [graph.op(name).kind for name in graph.compute_order()]


def only(graph: Graph, kind: str) -> Operator:
    """The one operator of that kind."""
    (found,) = [graph.op(name) for name in graph.order() if graph.op(name).kind == kind]
    return found


def shapes(graph: Graph, kind: str) -> list[str]:
    """Operand and result types of every operator of that kind, as text."""
    ops = [graph.op(name) for name in graph.order() if graph.op(name).kind == kind]
    return [", ".join(map(str, op.inputs)) + " -> " + ", ".join(map(str, op.outputs)) for op in ops]
