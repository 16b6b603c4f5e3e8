"""Graphs from everything of PyTorch: what the dispatch of frontends calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edpc.frontends.fx.archive import read_archive
from edpc.frontends.fx.lower import lower
from edpc.frontends.fx.module import export, import_torch, load_factory, program_of
from edpc.ir import Graph
from edpc.ir.collector import collector_paused


def load_archive(
    path: str,
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
) -> Graph:
    """The graph of a `.pt2` archive; needs no torch, reads no weights, runs nothing of it.

    Raises:
        ModelError: the archive cannot be read.
        UsageError: an override does not fit it, or free dimensions remain.
    """
    with collector_paused():
        return lower(read_archive(path), path, dims=dims, batch=batch, shapes=shapes, trip_count=trip_count)


def load_named(
    name: str,
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
) -> Graph:
    """The graph of what `package.module:factory` makes.

    Raises:
        ModelError: the factory fails or its module cannot be exported.
        UsageError: there is no such factory, torch is not installed, or an override does not fit.
    """
    program = load_factory(name, batch, shapes)
    return lower(program, name, dims=dims, trip_count=trip_count)


def load_object(
    source: Any,
    example_inputs: Any = None,
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
) -> Graph:
    """The graph of an `nn.Module` with its inputs, an `ExportedProgram` or a `GraphModule` of ATen calls.

    A module is exported with inputs of the batch and shapes asked for; a program that is exported already has free dimensions or
    none.

    Raises:
        ModelError: the module cannot be exported, or the graph is not of ATen calls with types.
        UsageError: the object is none of these, or an override does not fit.
    """
    name = f"<{type(source).__name__}>"
    torch = import_torch(f"a model of type {type(source).__name__}")
    if isinstance(source, torch.nn.Module) and not (isinstance(source, torch.fx.GraphModule) and example_inputs is None):
        program = export(source, example_inputs, batch, shapes, name)
        return lower(program, name, dims=dims, trip_count=trip_count)
    program = program_of(source, example_inputs)
    return lower(program, name, dims=dims, batch=batch, shapes=shapes, trip_count=trip_count)
