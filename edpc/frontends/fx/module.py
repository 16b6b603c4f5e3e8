"""Modules to programs: exported by torch.export with what they are called with, or named as `package.module:factory`."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edpc.errors import EdpcError, ModelError, UsageError
from edpc.frontends.fx.program import Program
from edpc.frontends.fx.trace import trace_module, trace_program
from edpc.frontends.onnx.names import did_you_mean, shown

INSTALL = "needs PyTorch; install it with: pip install edpc[torch]"


def import_torch(what: str) -> Any:
    """The torch module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import torch
        import torch.export
        import torch.fx
    except ImportError:
        raise UsageError(f"{what} {INSTALL}") from None
    return torch


def program_of(source: Any, example_inputs: Any = None) -> Program:
    """The program of an `ExportedProgram` or a `GraphModule` as they are, or of a module called with these inputs.

    Raises:
        UsageError: it is none of these, or a module comes without inputs.
        ModelError: the module cannot be exported.
    """
    torch = import_torch(f"a model of type {type(source).__name__}")
    if isinstance(source, torch.export.ExportedProgram):
        return trace_program(source)
    if isinstance(source, torch.fx.GraphModule) and example_inputs is None:
        return trace_module(source)
    if isinstance(source, torch.nn.Module):
        return export(source, example_inputs)
    raise UsageError(
        f"a model of type {type(source).__name__} is not supported; give an nn.Module with example_inputs, an ExportedProgram "
        "or a torch.fx.GraphModule"
    )


def export(
    module: Any,
    example_inputs: Any = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    where: str = "the module",
) -> Program:
    """The program of a module in inference mode, called with inputs like these; nothing is computed.

    Args:
        module: an nn.Module; it is as before afterwards.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments; None for the module's own.
        batch: leading dimension to give to the first tensor and to all that have the same.
        shapes: whole shape by name of argument of `forward`.
        where: what messages call the module.

    Raises:
        UsageError: there are no inputs, or an override does not fit them.
        ModelError: the module cannot be exported.
    """
    torch = import_torch(where)
    given = getattr(module, "example_inputs", None) if example_inputs is None else example_inputs
    if callable(given):
        given = given()
    if given is None:
        raise UsageError(f"{where} comes without example inputs; give example_inputs, or a module that has them")
    args, kwargs = _call(torch, given)
    if batch is not None or shapes:
        args, kwargs = _resized(torch, module, args, kwargs, batch, shapes or {}, where)
    if any(each.device.type == "meta" for each in module.parameters()):  # inputs must live where the weights do
        args, kwargs = torch.utils._pytree.tree_map_only(torch.Tensor, lambda each: each.to("meta"), (args, kwargs))
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        with quiet(torch):
            exported = torch.export.export(module, args, kwargs, strict=False)
    except EdpcError:
        raise
    except Exception as error:  # torch.export raises whatever the module's own code raises, and much of its own
        raise ModelError(f"{where} cannot be exported by torch.export: {one_line(error)}") from error
    finally:
        for each, training in modes:
            each.training = training
    return trace_program(exported)


def load_factory(name: str, batch: int | None, shapes: Mapping[str, Sequence[int]] | None) -> Program:
    """The program of what `package.module:factory` makes: (module, example inputs), or a module with `example_inputs`.

    Parameters are made without memory where the factory allows that. Modules of the working directory can be imported.

    Raises:
        UsageError: there is no such module or factory, or an override does not fit.
        ModelError: the factory fails, answers something else, or its module cannot be exported.
    """
    torch = import_torch(name)
    factory = _imported(name)
    made = factory
    if not isinstance(factory, torch.nn.Module):
        if not callable(factory):
            raise UsageError(f"{name} is no factory but a {type(factory).__name__}; name a callable or an nn.Module")
        made = _made(torch, factory, name)
    module, inputs = made if isinstance(made, tuple | list) and len(made) == 2 else (made, None)
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"{name} answers a {type(made).__name__}; it must answer (module, example inputs) or an nn.Module with example_inputs"
        )
    return export(module, inputs, batch, shapes, name)


def _imported(name: str) -> Any:
    path, _, attribute = name.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
        of = "" if path == missing or path.startswith(f"{missing}.") else f", which {path} imports"
        raise UsageError(f"{name}: there is no module {missing!r}{of}; check the name and the working directory") from None
    except Exception as error:  # importing runs the user's code
        raise ModelError(f"{name}: importing {path} failed with {one_line(error)}") from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [each for each in vars(module) if not each.startswith("_")]
        raise UsageError(f"{name}: module {path} has no {attribute!r}{did_you_mean(attribute, public)}") from None


def _made(torch: Any, factory: Callable[[], Any], name: str) -> Any:
    try:
        with torch.device("meta"):
            return factory()
    except Exception:  # a factory that looks at values of its tensors works with real ones only
        try:
            return factory()
        except Exception as error:  # the user's code
            raise ModelError(f"{name} failed with {one_line(error)}") from error


def _call(torch: Any, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(given, torch.Tensor):
        return (given,), {}
    if isinstance(given, Mapping):
        return (), dict(given)
    if isinstance(given, tuple | list):
        return tuple(given), {}
    raise UsageError(f"example inputs are a tensor, a tuple or a dict of arguments, not {type(given).__name__}")


def _resized(
    torch: Any,
    module: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    batch: int | None,
    shapes: Mapping[str, Sequence[int]],
    where: str,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs in other shapes; their values are zero where the shape is another."""
    try:
        names = list(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except TypeError:
        names = [*map(str, range(len(args))), *kwargs]
    by_name = dict(zip(names, args, strict=False)) | kwargs
    for name in shapes:
        if not isinstance(by_name.get(name), torch.Tensor):
            listed = ", ".join(map(shown, by_name))
            raise UsageError(f"{where} has no tensor input {shown(name)}, only {listed}{did_you_mean(name, by_name)}")
    tensors = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    leading = next((each.shape[0] for each in tensors if each.dim()), None)
    if batch is not None and leading is None:
        raise UsageError(f"no input of {where} has a leading dimension that --batch could set")
    whole = {id(by_name[name]): tuple(shape) for name, shape in shapes.items()}

    def changed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        shape = whole.get(id(value))
        if shape is None:
            led = batch if batch is not None and value.dim() and value.shape[0] == leading else None
            shape = tuple(value.shape) if led is None else (led, *value.shape[1:])
        return value if shape == tuple(value.shape) else value.new_zeros(shape)

    return torch.utils._pytree.tree_map(changed, (args, kwargs))  # type: ignore[no-any-return]


@contextlib.contextmanager
def quiet(torch: Any) -> Iterator[None]:
    """Torch's warnings and logs are about running the program, which nobody will, as is the listing of one it gives up on."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def one_line(error: BaseException) -> str:
    """The first line of an error, short enough to read; with the next where it only announces that."""
    text, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if text.endswith(":") and rest:
        text = f"{text} {rest[0]}"
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
