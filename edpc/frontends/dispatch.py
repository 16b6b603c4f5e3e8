"""Which frontend reads what it is given. torch is imported by its own frontend only."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edpc.errors import ModelError, UsageError
from edpc.ir import Graph
from edpc.ir.collector import collector_paused

if TYPE_CHECKING:
    import onnx

STDIN = "-"
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def load(
    source: Any,
    *,
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    seq: int | None = None,
    phase: str | None = None,
    past: int | None = None,
) -> Graph:
    """The graph of a model.

    A model is the path of an `.onnx`, `.pt2` or `.edp` file, `-` for ONNX or textual IR on stdin, `package.module:factory`,
    `block:NAME?parameter=value`, `hf:PATH` of a transformers configuration, ONNX bytes, an `onnx.ModelProto`, a `torch.nn.Module`
    with example inputs, a `torch.export.ExportedProgram`, a `torch.fx.GraphModule` of ATen calls, or a graph (copied).

    Args:
        source: the model. A file of another suffix is tried as ONNX.
        dims: size by name of a free dimension.
        batch: leading dimension the network is served with.
        shapes: whole shape by name of input.
        trip_count: iterations by name of a Loop, Scan or while_loop node.
        example_inputs: what an `nn.Module` is called with: a tensor, a tuple or a dict of arguments; None for its own
            `example_inputs`.
        seq: of a configuration, the length of its main input.
        phase: of a configuration that generates text, `prefill` or `decode`.
        past: of the same, tokens in the cache before the run.

    Raises:
        ModelError: the model cannot be read or is invalid.
        UsageError: this kind of input is not supported, or an override does not fit it.
    """
    given = [flag for flag, value in (("dim", dims), ("batch", batch), ("shape", shapes), ("trip-count", trip_count)) if value]
    is_config = isinstance(source, str | os.PathLike) and os.fspath(source).startswith("hf:")
    for flag, value in (("seq", seq), ("phase", phase), ("past", past)):
        if value is not None and not is_config:
            raise UsageError(f"--{flag} belongs to a model configuration, hf:PATH; {_sizes_of(source)}")
    if isinstance(source, Graph):
        _refuse_overrides(given, "a graph")
        return source.copy()
    if example_inputs is not None and not _is_torch(source):
        raise UsageError(f"example inputs belong to an nn.Module, not to a model of type {type(source).__name__}")
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if name.startswith("block:"):
            from edpc.blocks import load_block

            fixed = "its sizes are its parameters and --batch; list them with `edpc blocks`"
            _refuse_overrides([flag for flag in given if flag != "batch"], name, fixed)
            return load_block(name, batch)
        if is_config:
            from edpc.frontends.hf.load import load_config

            return load_config(
                name, batch=batch, seq=seq, phase=phase, past=past, dims=dims, shapes=shapes, trip_count=trip_count
            )
        if name.lower().endswith(".pt2"):
            from edpc.frontends.fx.load import load_archive

            return load_archive(name, dims, batch, shapes, trip_count)
        if _FACTORY.fullmatch(name) and not os.path.exists(name):
            from edpc.frontends.fx.load import load_named

            return load_named(name, dims, batch, shapes, trip_count)
        if name == STDIN:
            data = sys.stdin.buffer.read()
            if _is_text(data):
                _refuse_overrides(given, "textual IR")
                return _parse(data, "<stdin>")
            return _load_onnx(data, "<stdin>", dims, batch, shapes, trip_count)
        if name.lower().endswith(".edp"):
            _refuse_overrides(given, name)
            return _parse(_read(name), name)
        return _load_onnx(name, name, dims, batch, shapes, trip_count)
    if _is_torch(source):
        from edpc.frontends.fx.load import load_object

        return load_object(source, example_inputs, dims, batch, shapes, trip_count)
    return _load_onnx(source, "<model>", dims, batch, shapes, trip_count)


def _sizes_of(source: Any) -> str:
    """How the sizes of a model that is no configuration are set."""
    if isinstance(source, str | os.PathLike) and os.fspath(source).startswith("block:"):
        return "a block has parameters: `edpc blocks NAME` lists them"
    return "other models take --batch, --dim and --shape"


def _is_torch(source: object) -> bool:
    """Whether the object is of a class of torch or made from one, found out without importing torch."""
    return any(cls.__module__.partition(".")[0] == "torch" for cls in type(source).__mro__)


def _load_onnx(
    source: str | bytes | onnx.ModelProto,
    name: str,
    dims: Mapping[str, int] | None,
    batch: int | None,
    shapes: Mapping[str, Sequence[int]] | None,
    trip_count: Mapping[str, int] | None,
) -> Graph:
    import onnx

    from edpc.frontends.onnx.lower import lower
    from edpc.frontends.onnx.reader import read_model, strip_model
    from edpc.frontends.onnx.shapes import infer

    if isinstance(source, str | bytes):
        model = read_model(source, name=name)
    elif isinstance(source, onnx.ModelProto):
        model = strip_model(source)
    else:
        raise UsageError(
            f"a model of type {type(source).__name__} is not supported by this version; give an ONNX model, a path or a graph"
        )
    with collector_paused():
        typed = infer(model, dims=dims, batch=batch, shapes=shapes, trip_count=trip_count, source=name)
        return lower(typed, name)


def _parse(data: bytes, name: str) -> Graph:
    from edpc.ir.text import parse_graph
    from edpc.ir.verify import verify_input
    from edpc.operators import KINDS

    try:
        graph = parse_graph(data.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        raise ModelError(f"{name} is not textual IR: byte {error.start} is not UTF-8; print it again with --emit ir") from None
    verify_input(graph, name, frozenset(KINDS))
    return graph


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}; check the path") from None


def _is_text(data: bytes) -> bool:
    """Whether the first line is printable text, as no ONNX model's is."""
    line = data.lstrip()[:200].partition(b"\n")[0]
    return (
        bool(line)
        and all(byte >= 32 or byte in b"\t\r" for byte in line)
        and b"\xff" not in line
        and not data.startswith(b"\x08")
    )


def _refuse_overrides(given: list[str], what: str, why: str = "its shapes are fixed") -> None:
    if given:
        raise UsageError(f"--{given[0]} does not apply to {what}: {why}")
