"""`--depth N`: the report as a tree of modules that sums to the whole at every level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import onnx
import pytest
from chain_model import chain, save
from command_line import ROOT, edpc
from hypothesis import given, settings
from hypothesis import strategies as st

import edpc as api
from edpc.emit import EmitOptions, emit, emit_kind
from edpc.emit.modules import OWN, ModuleRow, module_rows

SUMMED = ("num_operators", "energy_j", "latency_s", "edp_js", "edp_fraction")
BERT = str(ROOT / "tests/models/bert_tiny.onnx")


def nested(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    return model


def levels(rows: list[ModuleRow]) -> Iterator[tuple[ModuleRow, list[ModuleRow]]]:
    """Every row with the rows right below it."""
    for place, row in enumerate(rows):
        inside = []
        for other in rows[place + 1 :]:
            if other.depth <= row.depth:
                break
            if other.depth == row.depth + 1:
                inside.append(other)
        yield row, inside


def adds_up(report: api.Report, rows: list[ModuleRow]) -> None:
    whole = rows[0]
    assert (whole.path, whole.depth, whole.num_operators) == ((), 0, report.model.num_operators)
    assert math.isclose(whole.energy_j, report.energy_j, rel_tol=1e-9)
    assert math.isclose(whole.latency_s, report.latency_s, rel_tol=1e-9)
    assert math.isclose(whole.edp_js, report.edp_js, rel_tol=1e-9)
    assert math.isclose(whole.edp_fraction, 1.0, rel_tol=1e-9)
    for row, inside in levels(rows):
        for name in SUMMED if inside else ():
            parts = math.fsum(getattr(part, name) for part in inside)
            assert math.isclose(parts, getattr(row, name), rel_tol=1e-9, abs_tol=1e-300), (row, name)


@pytest.fixture(scope="module")
def report() -> api.Report:
    return api.compile(BERT, "tpu", batch=2)


PATHS = st.lists(st.sampled_from(["a", "b", "0", "", OWN]), max_size=5).map(".".join)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), depth=st.integers(1, 7))
def test_every_level_sums_to_the_whole(report: api.Report, data: st.DataObject, depth: int) -> None:
    count = len(report.operators)
    paths = data.draw(st.lists(PATHS, min_size=1, max_size=30).map(lambda found: (found * count)[:count]))
    placed = [msgspec.structs.replace(op, module_path=path) for op, path in zip(report.operators, paths, strict=True)]
    changed = msgspec.structs.replace(report, operators=tuple(placed))
    rows = module_rows(changed, depth)
    adds_up(changed, rows)
    assert max(row.depth for row in rows) <= depth
    assert len({(row.path, row.is_own) for row in rows}) == len(rows)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_model_exported_from_torch_has_its_modules(depth: int) -> None:
    pytest.importorskip("torch")
    found = api.compile("block:transformer-encoder?tokens=16&width=32&heads=2&hidden=64", "h100")
    rows = module_rows(found, depth)
    adds_up(found, rows)
    assert max(row.depth for row in rows) <= depth
    assert len(rows) > 3


def test_modules_of_an_export_to_onnx_are_those_of_the_module() -> None:
    torch = pytest.importorskip("torch")
    from torch_networks import encoder, onnx_of

    module, inputs = encoder()
    through_fx = api.compile(module, "tpu", example_inputs=inputs)
    through_onnx = api.compile(onnx_of(module, inputs, 18), "tpu")
    assert isinstance(module, torch.nn.Module)
    children = {name for name, _ in module.named_children()}
    for found in (through_fx, through_onnx):
        adds_up(found, module_rows(found, 2))
        names = {row.path[0] for row in module_rows(found, 1) if row.path}
        assert {"linear1", "linear2", "self_attn", "norm1"} <= names <= children


def test_names_of_nodes_are_paths_too(tmp_path: Path) -> None:
    found = api.compile(nested(chain(), ["/net/linear/MatMul", "/net/linear/Add", "/net/act/Relu"]), "cpu")
    rows = module_rows(found, 2)
    adds_up(found, rows)
    assert [(row.path, row.num_operators) for row in rows] == [
        ((), 3),
        (("net",), 3),
        (("net", "linear"), 2),
        (("net", "act"), 1),
    ]
    path = save(nested(chain(), ["/net/linear/MatMul", "/net/linear/Add", "/Relu"]), tmp_path, "m.onnx")
    text = edpc(path, "--depth", "1").stdout
    table = text[text.index("Modules, 1 deep") :].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table[3:]] == ["m", "net", "(its"]
    assert "Modules" not in edpc(path).stdout


def test_a_model_that_names_no_modules_says_so(tmp_path: Path) -> None:
    done = edpc(save(chain(), tmp_path, "m.onnx"), "--depth", "3")
    assert done.exit_code == 0
    assert "does not say which module" in done.stdout


def test_deep_paths_cost_what_is_shown(report: api.Report) -> None:
    deep = [msgspec.structs.replace(op, module_path=".".join(["x"] * 5000)) for op in report.operators]
    changed = msgspec.structs.replace(report, operators=tuple(deep))
    assert len(module_rows(changed, 10)) == 11
    assert len(module_rows(changed, 10_000)) == 5001


def test_names_of_modules_are_printed_as_text(report: api.Report) -> None:
    named = [msgspec.structs.replace(op, module_path="\x1b[31mred") for op in report.operators]
    changed = msgspec.structs.replace(report, operators=tuple(named))
    assert "\x1b" not in emit(emit_kind("report"), [changed], EmitOptions(depth=1)).decode()


def test_the_path_is_in_the_json(tmp_path: Path) -> None:
    found = api.compile(nested(chain(), ["/net/linear/MatMul", "/net/linear/Add", "/Relu"]), "cpu")
    assert [op["module_path"] for op in found.to_dict()["operators"]] == ["net.linear", "net.linear", ""]
