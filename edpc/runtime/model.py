"""A model made ready for the runtime: shapes fixed, absent weights marked to be synthesised, every node named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from edpc.errors import UsageError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

# Weights that are made up have to fit in memory, twice: as given and as the runtime packs them.
MOST_WEIGHT_BYTES = 4 * 2**30
# Random numbers are repeated after so many: as good as fresh ones, and made in no time.
_BLOCK = 1 << 20
_SEED = 20_250_101
_SHAPED_BY_CONSTANT = frozenset({"Reshape", "Expand"})


@dataclass(frozen=True)
class Prepared:
    """A model that the runtime can open.

    Attributes:
        proto: the model without its large weights, which it names as external.
        name: what messages call it.
        absent: the weights to synthesise: shape and ONNX element type by name.
    """

    proto: onnx.ModelProto
    name: str
    absent: Mapping[str, tuple[tuple[int, ...], int]]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that have to be synthesised."""
        return sum(prod(shape) * _element(kind).itemsize for shape, kind in self.absent.values())


def prepare(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Prepared:
    """The model with the shapes asked for, ready to be opened.

    Args:
        source: path, bytes or `onnx.ModelProto`.
        batch: leading dimension of the inputs; also becomes the leading dimension of shapes that the model spells out.
        dims: sizes of free dimensions by name.
        shapes: whole shapes by name of input.

    Raises:
        ModelError: the model cannot be read or is invalid.
        UsageError: an override does not fit, or the weights are too large to be made up.
    """
    import onnx

    from edpc.frontends.onnx.reader import read_model, strip_model
    from edpc.frontends.onnx.shapes import infer

    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the model"
    model = strip_model(source) if isinstance(source, onnx.ModelProto) else read_model(source, name=str(name))
    typed = infer(model, dims=dims, batch=batch, shapes=shapes, source=str(name)).graph
    graph = model.graph
    given = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        kind = typed.types.get(value.name)
        if value.name not in given and kind is not None and kind.is_static and value.type.HasField("tensor_type"):
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for size in kind.dims():
                shape.dim.add().dim_value = size
    if batch is not None or dims or shapes:
        del graph.value_info[:]  # they state the sizes of before
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
        _respell(graph, {name: kind.dims() for name, kind in typed.types.items() if kind.is_static}, typed.constants)
    _name_nodes(graph)
    prepared = Prepared(model, str(name), _absent(graph))
    if prepared.weight_bytes > MOST_WEIGHT_BYTES:
        raise UsageError(
            f"{name} has {prepared.weight_bytes / 2**30:.1f} GiB of weights and {MOST_WEIGHT_BYTES / 2**30:.0f} GiB is the most "
            "that edpc makes up to run a model; take --set graph=model, or a smaller configuration"
        )
    return prepared


def weights(prepared: Prepared) -> dict[str, NDArray[Any]]:
    """Values for the absent weights: small and of both signs for matrices, about one for vectors, zero for integers.

    Activations then neither die out nor overflow, so that no denormal slows the run; variances are positive, indices valid.
    """
    import numpy as np

    rng = np.random.default_rng(_SEED)
    block = rng.uniform(-0.05, 0.05, _BLOCK).astype(np.float32)
    made = {}
    for name, (shape, kind) in prepared.absent.items():
        dtype = _element(kind)
        count = prod(shape)
        if dtype.kind != "f":
            made[name] = np.zeros(shape, dtype)
        elif len(shape) < 2:
            made[name] = (
                np.full(shape, 1.0, dtype) + block[:count].reshape(shape).astype(dtype)
                if count <= _BLOCK
                else np.ones(shape, dtype)
            )
        else:
            values = np.empty(count, dtype)
            for start in range(0, count, _BLOCK):
                values[start : start + _BLOCK] = block[: min(_BLOCK, count - start)]
            made[name] = values.reshape(shape)
    return made


def _element(kind: int) -> Any:
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(kind)


def _absent(graph: onnx.GraphProto) -> dict[str, tuple[tuple[int, ...], int]]:
    """Initializers without values, here or in a file; marked as external, under a name that is never opened."""
    import onnx

    found = {}
    for tensor in graph.initializer:
        shape = tuple(tensor.dims)
        if tensor.data_location != onnx.TensorProto.EXTERNAL and (_has_values(tensor) or not prod(shape)):
            continue
        found[tensor.name] = (shape, tensor.data_type)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "synthesised"
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value" and not _has_values(attribute.t) and prod(attribute.t.dims):
                    size = prod(attribute.t.dims) * _element(attribute.t.data_type).itemsize
                    attribute.t.raw_data = bytes(size)
                    attribute.t.data_location = onnx.TensorProto.DEFAULT
                    del attribute.t.external_data[:]
    return found


def _has_values(tensor: onnx.TensorProto) -> bool:
    return tensor.HasField("raw_data") or any(
        len(getattr(tensor, field))
        for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    )


def _respell(graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]], constants: Mapping[str, Any]) -> None:
    """Shapes that the model spells out as constants are those its tensors now have."""
    import numpy as np
    from onnx import numpy_helper

    for number, node in enumerate(graph.node):
        if node.op_type in _SHAPED_BY_CONSTANT and not node.domain and len(node.input) == 2 and node.input[1] in constants:
            shape = shapes.get(node.output[0])
            if shape is not None:
                name = f"edpc_shape_{number}"
                graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
                node.input[1] = name


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Every node has a name of its own, by which its time is found again."""
    taken = Counter(node.name for node in graph.node)
    for number, node in enumerate(graph.node):
        if not node.name or taken[node.name] > 1:
            node.name = f"{node.name or node.op_type}_{number}"
