"""The single-operator models of the ONNX test suite, built once per run: none crashes, and what they compute agrees.

Its `_expanded` models hold the standard's own definition of a composite operator as a graph of primitives: an oracle for
expansions that is not our code.
"""

from collections.abc import Mapping

import onnx
import pytest

from edpc.api import run
from edpc.frontends import load
from edpc.ir import Graph
from edpc.registry import find_target
from edpc.report import build_report
from tests.node_models import node_models
from tests.onnx_graphs import checked, kinds, macs

pytestmark = pytest.mark.slow

# Models that leave dimensions of an input free.
FREE = {"M": 4, "N": 4}
ALL = 1884
FULLY_SHAPED = 1806


@pytest.fixture(scope="session")
def node_graphs() -> Mapping[str, Graph]:
    return {name: load(made, dims=free(made)) for name, made in node_models().items()}


def free(made: onnx.ModelProto) -> dict[str, int]:
    """Sizes for the dimensions that the model leaves free."""
    names = {dim.dim_param for value in made.graph.input for dim in value.type.tensor_type.shape.dim}
    return {name: FREE[name] for name in sorted(names & FREE.keys())}


def is_fully_shaped(graph: Graph) -> bool:
    return all(t.is_static for name in graph.dag for t in graph.op(name).outputs)


def test_every_node_test_is_lowered_verified_and_counted(node_graphs: Mapping[str, Graph]) -> None:
    assert len(node_graphs) == ALL
    for graph in node_graphs.values():
        checked(graph)


def test_no_operator_of_the_standard_is_unknown(node_graphs: Mapping[str, Graph]) -> None:
    assert [name for name, graph in node_graphs.items() if "unknown" in kinds(graph)] == []


def test_fully_shaped_node_tests(node_graphs: Mapping[str, Graph]) -> None:
    shaped = [name for name, graph in node_graphs.items() if is_fully_shaped(graph)]
    assert len(shaped) == FULLY_SHAPED


def test_the_others_are_reported(node_graphs: Mapping[str, Graph]) -> None:
    """What is not fully shaped holds a sequence, map or optional, or says in a note that sizes are not known."""
    opaque = {"sequence", "map", "optional"}
    for name, graph in node_graphs.items():
        unknown = [t for node in graph.dag for t in graph.op(node).outputs if not t.is_static and t.dtype not in opaque]
        assert not unknown or any("not known" in note for note in graph.info.notes), name


def test_composites_multiply_what_their_definition_multiplies(node_graphs: Mapping[str, Graph]) -> None:
    """Affine grids are apart: the definition writes coordinates as a matrix product, the vocabulary as 2 operations per axis."""
    compared = 0
    for name, graph in node_graphs.items():
        definition = node_graphs.get(f"{name}_expanded")
        if definition is None or "affine_grid" in name:
            continue
        assert macs(graph) == macs(definition), name
        compared += macs(graph) > 0
    assert compared >= 100


def test_every_node_test_gets_a_report_that_adds_up(node_graphs: Mapping[str, Graph]) -> None:
    """Through the whole compiler, the targets taking turns."""
    targets = [find_target(name) for name in ("h100", "kpu", "tpu", "cpu")]
    for number, (name, graph) in enumerate(node_graphs.items()):
        graph, target = graph.copy(), targets[number % len(targets)]
        run(graph, target)
        report = build_report(graph, target)
        assert sum(o.edp_js for o in report.operators) == pytest.approx(report.edp_js, rel=1e-9), name
        assert sum(o.energy_j for o in report.operators) == pytest.approx(report.energy_j, rel=1e-9), name
