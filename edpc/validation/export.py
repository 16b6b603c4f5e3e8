"""Building blocks as ONNX models, for the runtime that reads nothing else."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from edpc.blocks import PREFIX, build, parse_block
from edpc.errors import UsageError
from edpc.frontends.onnx.reader import read_model

if TYPE_CHECKING:
    import onnx


def exported(source: str, batch: int | None = None) -> onnx.ModelProto:
    """The block as PyTorch exports it to ONNX, without its weights.

    Args:
        source: `block:NAME?parameter=value`.
        batch: replaces the parameter of that name.

    Raises:
        UsageError: no such block or parameter, or PyTorch or onnxscript is not installed.
    """
    if batch is not None:
        source += f"{'&' if '?' in source else '?'}batch={batch}"
    name, parameters = parse_block(source)
    module, inputs = build(name, **parameters)
    import torch

    with (
        tempfile.TemporaryDirectory(prefix="edpc-") as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        path = Path(folder) / "block.onnx"
        try:
            program = torch.onnx.export(
                module.to_empty(device="cpu"),
                tuple(torch.zeros(x.shape, dtype=x.dtype) for x in inputs),
                dynamo=True,
                verbose=False,
            )
        except ImportError as error:
            raise UsageError(
                f"{PREFIX}{name} cannot be exported to ONNX: {error}; install it with: pip install onnxscript"
            ) from None
        assert program is not None
        program.save(path, external_data=True)
        return read_model(path, name=source)
