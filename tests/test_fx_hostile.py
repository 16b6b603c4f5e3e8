# ruff: noqa: E402 -- the file is skipped before anything of torch is imported
"""Every block survives `torch.export.save`; what is broken or hostile in an archive is one sentence and exit code 3."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx_ir")

import edpc
from edpc.blocks import BLOCKS, build, parse_block
from edpc.ir.text import print_graph
from tests.command_line import edpc as run
from tests.command_line import process, refused
from tests.exported import hollow
from tests.test_blocks import SMALL


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_round_trip(tmp_path: Path, name: str) -> None:
    _, parameters = parse_block(f"block:{name}" + (f"?{SMALL[name]}" if name in SMALL else ""))
    module, inputs = build(name, **parameters)
    # With data, of which an archive says what is shared; on the meta device it does not.
    inputs = tuple(torch.zeros(each.shape, dtype=each.dtype) for each in inputs)
    program = torch.export.export(hollow(module), inputs, strict=False)
    path = tmp_path / f"{name}.pt2"
    torch.export.save(program, path)
    kept, read = edpc.load(program), edpc.load(path)
    assert read.info.parameters == kept.info.parameters
    assert read.info.batch == kept.info.batch
    bodies = [print_graph(graph).split("\n", 2)[2] for graph in (kept, read)]
    assert bodies[0] == bodies[1]  # what stands before names the source
    costs = [edpc.compile(graph, "h100").totals for graph in (kept, read)]
    assert costs[0] == costs[1]


def test_weights_without_data_are_each_their_own(tmp_path: Path) -> None:
    path = tmp_path / "layernorm.pt2"
    torch.export.save(torch.export.export(*build("layernorm"), strict=False), path)
    assert edpc.load(path).info.parameters == 2 * 768  # weight and bias, alike in all but their names


# --- what is not to be believed ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The entries of a sound archive: the perceptron's."""
    module, inputs = build("mlp")
    path = tmp_path_factory.mktemp("sound") / "mlp.pt2"
    torch.export.save(torch.export.export(module, inputs, strict=False), path)
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def written(path: Path, entries: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return str(path)


def description(entries: dict[str, bytes]) -> str:
    return next(name for name in entries if name.endswith("models/model.json"))


def changed(path: Path, entries: dict[str, bytes], change: Callable[[Any], None]) -> str:
    """The archive with its description changed."""
    model = json.loads(entries[description(entries)])
    change(model)
    return written(path, {**entries, description(entries): json.dumps(model).encode()})


def sizes(model: Any) -> list[Any]:
    found: list[Any] = [meta["sizes"] for meta in model["graph_module"]["graph"]["tensor_values"].values()]
    return found


def test_the_sound_archive_is_read(tmp_path: Path, entries: dict[str, bytes]) -> None:
    assert run(written(tmp_path / "mlp.pt2", entries)).exit_code == 0


def huge(model: Any) -> None:
    for shape in sizes(model):
        shape[0] = {"as_int": 10**30}


def in_a_circle(model: Any) -> None:
    """The first operator reads what the last one makes."""
    nodes = model["graph_module"]["graph"]["nodes"]
    last = nodes[-1]["outputs"][0]["as_tensor"]["name"]
    nodes[0]["inputs"][0]["arg"] = {"as_tensor": {"name": last}}


def too_many_elements(model: Any) -> None:
    for shape in sizes(model):
        shape[0] = {"as_int": 2**62}


def many_axes(model: Any) -> None:
    for shape in sizes(model):
        shape[:] = [{"as_int": 2}] * 5000


def another_version(model: Any) -> None:
    model["schema_version"] = {"major": 99, "minor": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (huge, "damaged program description"),
        (too_many_elements, "more elements than 64 bits can count"),
        (many_axes, "5000 dimensions, more than 64"),
        (in_a_circle, "reads the value 'linear_1', which nothing produces"),
        (another_version, "export it again with torch 2.6 or newer"),
        (lambda model: model.clear(), "no exported program"),
    ],
    ids=["huge", "elements", "axes", "circle", "version", "empty"],
)
def test_descriptions_that_cannot_be(
    tmp_path: Path, entries: dict[str, bytes], change: Callable[[Any], None], words: str
) -> None:
    refused(run(changed(tmp_path / "model.pt2", entries, change)), 3, words)


def test_deep_nesting_is_refused(tmp_path: Path, entries: dict[str, bytes]) -> None:
    deep = {**entries, description(entries): b"[" * 200_000 + b"]" * 200_000}
    refused(run(written(tmp_path / "deep.pt2", deep, zipfile.ZIP_STORED)), 3, "save it again with torch.export.save")


def test_an_entry_larger_than_it_can_be_is_not_unpacked(tmp_path: Path, entries: dict[str, bytes]) -> None:
    bomb = {**entries, description(entries): b" " * (1 << 27)}
    refused(run(written(tmp_path / "bomb.pt2", bomb)), 3, "not believable")


@pytest.mark.parametrize("length", [0, 1, 100, -100, -20])
def test_truncated_archives(tmp_path: Path, entries: dict[str, bytes], length: int) -> None:
    whole = Path(written(tmp_path / "whole.pt2", entries)).read_bytes()
    path = tmp_path / "part.pt2"
    path.write_bytes(whole[:length])
    refused(run(str(path)), 3, "no readable torch.export archive")


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"\x80\x04\x95", b"hello", b"\x00" * 4096])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.pt2"
    path.write_bytes(data)
    refused(run(str(path)), 3, "no readable torch.export archive")


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    refused(run(written(tmp_path / "zip.pt2", {"hello/there": b"x"})), 3, "no exported program")
    refused(run(str(tmp_path / "absent.pt2")), 3, "no such file")


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_pickles_and_names_that_climb_are_left_where_they_are(
    tmp_path: Path, entries: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    planted = {
        **{name: data if name.endswith(".json") else pickle.dumps(Bomb()) for name, data in entries.items()},
        "../../climbed": b"x",
        "/tmp/../climbed": b"x",
        "model/data/weights/../../../climbed": b"x",
        "model/data/sample_inputs/model.pt": pickle.dumps(Bomb()),
        "model/extra/data.pkl": pickle.dumps(Bomb()),
    }
    done = process(written(inside / "model.pt2", planted))
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "b", "model.pt2"}
