"""The single-operator models of the ONNX test suite, built once per run."""

import warnings
from collections.abc import Mapping
from functools import cache

import onnx


@cache
def node_models() -> Mapping[str, onnx.ModelProto]:
    """The models by name of their test; takes about ten seconds the first time."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case.model for case in collect_testcases(None)}
