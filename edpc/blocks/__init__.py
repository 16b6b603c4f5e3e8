"""Building blocks: plain torch modules with documented parameters, written `block:NAME?parameter=value&...`.

Listing and parsing import no torch; building one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edpc.blocks.catalogue import BLOCKS, Block, Parameter, Value
from edpc.errors import UsageError

if TYPE_CHECKING:
    import torch

    from edpc.ir import Graph

PREFIX = "block:"
_SHOWN = 40  # characters of a value that is refused

__all__ = ["BLOCKS", "PREFIX", "Block", "Parameter", "Value", "build", "find_block", "load_block", "parse_block"]


def find_block(name: str) -> Block:
    """The block of that name.

    Raises:
        UsageError: there is none, and which one may be meant.
    """
    if name in BLOCKS:
        return BLOCKS[name]
    raise UsageError(f"there is no block {name!r}; {_meant(name, BLOCKS, 'see `edpc blocks`')}")


def parse_block(source: str) -> tuple[str, dict[str, Value]]:
    """The block's name and all its parameters, set or by default.

    Args:
        source: `block:mlp?hidden=256&batch=4`.

    Raises:
        UsageError: no such block or parameter, a value of another type or out of bounds, a parameter given twice, or parameters
            that do not fit each other.
    """
    block, given = _split(source)
    return block.name, _checked(block, given)


def build(name: str, **parameters: Value) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The module in inference mode and its example inputs, all on the meta device: shapes without data.

    Args:
        name: of the block.
        parameters: as the block documents them; others have their defaults.

    Raises:
        UsageError: as of `parse_block`, or torch is not installed.
    """
    block = find_block(name)
    checked = _checked(block, parameters)
    try:
        import torch
    except ImportError:
        raise UsageError(f"{PREFIX}{name} needs PyTorch; install it with: pip install edpc[torch]") from None
    builder: Any = getattr(import_module(f"edpc.blocks.{block.module}"), block.builder)
    with torch.device("meta"):
        module, inputs = builder(**checked)
    return module.eval(), inputs


def load_block(source: str, batch: int | None = None) -> Graph:
    """The graph of a block, through the FX frontend.

    Args:
        source: as of `parse_block`.
        batch: replaces the parameter of that name.

    Raises:
        UsageError: as of `build`, or the batch is given twice.
    """
    from edpc.frontends.fx.lower import lower
    from edpc.frontends.fx.module import export

    block, given = _split(source)
    if batch is not None and given.setdefault("batch", batch) not in (batch, str(batch)):
        raise UsageError(f"{source}: --batch {batch} contradicts the parameter batch={given['batch']}")
    parameters = _checked(block, given)
    module, inputs = build(block.name, **parameters)
    graph = lower(export(module, inputs, where=source), source)
    graph.info = replace(graph.info, format="block", batch=int(parameters["batch"]))
    return graph


def _split(source: str) -> tuple[Block, dict[str, Value]]:
    """The block and the parameters that are set, as text."""
    name, question, query = source.removeprefix(PREFIX).partition("?")
    block = find_block(name)
    given: dict[str, Value] = {}
    for text in query.split("&") if question else ():
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"{source}: {text!r} is no parameter; write for example {PREFIX}{name}?batch=4")
        if key in given:
            raise UsageError(f"{source}: parameter {key!r} is given twice")
        given[key] = value
    return block, given


def _checked(block: Block, given: Mapping[str, Value]) -> dict[str, Value]:
    """All parameters of the block, those given converted to their types."""
    known = {parameter.name: parameter for parameter in block.parameters}
    for key in given:
        if key not in known:
            meant = _meant(key, known, "it has " + ", ".join(known))
            raise UsageError(f"{PREFIX}{block.name} has no parameter {key!r}; {meant}")
    values = {name: _value(block, p, given[name]) if name in given else p.default for name, p in known.items()}
    for larger, smaller, factor in block.multiples:
        if int(values[larger]) % (factor * int(values[smaller])):
            times = f"{factor} x " if factor > 1 else ""
            raise UsageError(
                f"{PREFIX}{block.name}: {larger} {values[larger]} is no multiple of {times}{smaller} {values[smaller]}"
            )
    return values


def _value(block: Block, parameter: Parameter, given: Value) -> Value:
    """The value in the parameter's type and within its bounds."""
    where = f"{PREFIX}{block.name}: {parameter.name}"
    if parameter.choices:
        if given not in parameter.choices:
            raise UsageError(f"{where} is one of {', '.join(parameter.choices)}, not {given!r}")
        return given
    shown = str(given)[:_SHOWN]
    try:
        number = int(str(given))
    except ValueError:
        raise UsageError(f"{where} is a whole number, not {shown!r}") from None
    if not parameter.least <= number <= parameter.most:
        raise UsageError(f"{where} is between {parameter.least} and {parameter.most}, not {shown}")
    return number


def _meant(name: str, known: Mapping[str, object], otherwise: str) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else otherwise
