# ruff: noqa: E402 -- the file is skipped before anything of torch is imported
"""`.pt2` archives: what torch.export saves round-trips, without torch; what is damaged or hostile is one sentence."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from edpc.errors import EdpcError, ModelError, UsageError
from edpc.frontends import load
from edpc.frontends.fx.sizes import Sizes, symbols
from edpc.ir.text import print_graph
from tests.torch_networks import NETWORKS, Grouped

ROOT = Path(__file__).parents[1]


class Mixed(nn.Module):
    """Shared weights, a buffer that is written, a branch, several results, a free dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.b.weight = self.a.weight
        self.register_buffer("cache", torch.zeros(4, 8))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = torch.cond(x.sum() > 0, lambda v: self.a(v), lambda v: v + 1, (x,))
        self.cache[0:2] = y[0:2]
        first, second = y.split([4, 4], -1)
        values, _ = torch.topk(self.b(y), 2)
        return torch.cat([first, second, y], -1).reshape(2 * x.shape[0], 8), values, self.cache + 1


def saved(folder: Path, program: Any) -> str:
    path = folder / "model.pt2"
    torch.export.save(program, path)
    return str(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    free = ({0: torch.export.Dim("images", min=4, max=30)},)
    program = torch.export.export(Mixed(), (torch.zeros(6, 8),), dynamic_shapes=free)
    return saved(tmp_path_factory.mktemp("archive"), program)


def body_of(text: str) -> str:
    """The operators, without the header that names the model."""
    return text.split("\n", 2)[2]


@pytest.mark.parametrize("name", [*NETWORKS, "grouped"])
def test_archives_round_trip(tmp_path: Path, name: str) -> None:
    module, inputs = NETWORKS[name]() if name in NETWORKS else (Grouped(), (torch.zeros(2, 10, 64),))
    program = torch.export.export(module.eval(), inputs)
    assert body_of(print_graph(load(saved(tmp_path, program)))) == body_of(print_graph(load(program)))


def test_an_archive_of_everything(archive: str) -> None:
    with pytest.raises(UsageError, match=r"free dimensions 's\d+'; set them, for instance --dim s\d+=1"):
        load(archive)
    graph = load(archive, batch=6)
    results = [graph.type_of(value).shape for value in graph.operands("return")]
    assert results == [(12, 8), (6, 2), (4, 8)]
    assert graph.info.parameters == 64 + 8 + 8
    assert sum(1 for _, op in graph.items() if op.kind == "tensor_scatter") == 1


def test_archives_are_read_without_torch_and_modules_say_what_to_install(archive: str) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
from edpc.frontends import load
from edpc.errors import EdpcError
assert load({archive!r}, batch=4).info.format == "fx"
try:
    load("tests.torch_networks:mlp")
except EdpcError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.strip() == "tests.torch_networks:mlp needs PyTorch; install it with: pip install edpc[torch]", done.stderr


def rewritten(source: str, target: Path, change: Callable[[dict[str, bytes]], None]) -> str:
    """A copy of the archive with its entries changed."""
    with zipfile.ZipFile(source) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return str(target)


def described(change: Callable[[Any], Any]) -> Callable[[dict[str, bytes]], None]:
    """Changes the description of the program."""

    def apply(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith("models/model.json"))
        model = json.loads(entries[name])
        entries[name] = json.dumps(change(model) or model).encode()

    return apply


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_pickles_and_weights_in_an_archive_are_never_loaded(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def plant(entries: dict[str, bytes]) -> None:
        for name in list(entries):
            if "/data/" in name and not name.endswith(".json"):
                entries[name] = pickle.dumps(Bomb())
        config = next(name for name in entries if name.endswith("model_weights_config.json"))
        entries[config] = entries[config].replace(b'"use_pickle": false', b'"use_pickle": true')

    graph = load(rewritten(archive, tmp_path / "bomb.pt2", plant), batch=4)
    assert graph.info.parameters == 80
    assert not (tmp_path / "exploded").exists()


def test_sizes_are_never_run_as_code(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call = "__import__('os').mkdir('exploded')"

    def plant(model: Any) -> None:
        for meta in model["graph_module"]["graph"]["tensor_values"].values():
            meta["sizes"] = [{"as_expr": {"expr_str": call, "hint": None}}]

    path = rewritten(archive, tmp_path / "code.pt2", described(plant))
    with pytest.raises(EdpcError):
        load(path, batch=4)
    assert not (tmp_path / "exploded").exists()


def test_sizes_are_evaluated() -> None:
    sizes = Sizes({"s0": 7})
    s0 = "Symbol('s0', positive=True, integer=True)"
    assert symbols(f"Add({s0}, Symbol('u0'))") == ["s0", "u0"]
    for text, expected in (
        (s0, 7),
        (f"FloorDiv({s0}, Integer(2))", 3),
        (f"Add(Mul(Integer(-1), {s0}), Integer(10))", 3),
        (f"Max(Integer(1), Mod({s0}, Integer(4)))", 3),
        (f"CeilToInt(IntTrueDiv({s0}, Integer(2)))", 4),
        (f"Pow({s0}, Integer(2))", 49),
        ("Symbol('u0')", None),
        ("Pow(Integer(10), Pow(Integer(10), Integer(10)))", None),
        (f"FloorDiv({s0}, Integer(0))", None),
        ("exit()", None),
        ("(" * 3000, None),
        ("Add(" * 900 + ")" * 900, None),
    ):
        assert sizes(text) == expected, text


def test_a_list_of_broken_archives(archive: str, tmp_path: Path) -> None:
    whole = Path(archive).read_bytes()
    rng = random.Random(3)
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as made:
        made.writestr("hello", "there")
    broken = {
        "nothing": b"",
        "text": b"this is no archive\n",
        "noise": bytes(rng.randrange(256) for _ in range(4096)),
        "half": whole[: len(whole) // 2],
        "tail": whole[len(whole) // 2 :],
        "other": empty.read_bytes(),
    }
    for name, data in broken.items():
        path = tmp_path / f"{name}.pt2"
        path.write_bytes(data)
        with pytest.raises(ModelError, match=name) as caught:
            load(str(path))
        assert "\n" not in str(caught.value)
    (tmp_path / "folder.pt2").mkdir()
    for name, words in (("absent.pt2", "no such file"), ("folder.pt2", "it is a folder")):
        with pytest.raises(ModelError, match=words):
            load(str(tmp_path / name))


def test_damaged_descriptions_are_one_sentence(archive: str, tmp_path: Path) -> None:
    def forget(key: str) -> Callable[[Any], None]:
        return lambda model: model["graph_module"]["graph"].pop(key)

    changes: dict[str, Callable[[Any], Any]] = {
        "list": lambda model: [1],
        "no nodes": forget("nodes"),
        "no types": forget("tensor_values"),
        "no module": lambda model: model.pop("graph_module"),
        "no signature": lambda model: model["graph_module"].pop("signature"),
        "a negative size": lambda model: next(iter(model["graph_module"]["graph"]["tensor_values"].values()))["sizes"].insert(
            0, {"as_int": -4}
        ),
        "a strange element type": lambda model: next(iter(model["graph_module"]["graph"]["tensor_values"].values())).update(
            dtype=99
        ),
        "a dangling value": lambda model: model["graph_module"]["graph"]["nodes"].clear(),
    }
    for name, change in changes.items():
        path = rewritten(archive, tmp_path / f"{name}.pt2", described(lambda model, change=change: change(model) and None))
        if name == "list":
            path = rewritten(archive, tmp_path / "list.pt2", described(change))
        with pytest.raises(ModelError) as caught:
            load(path, batch=4)
        assert "\n" not in str(caught.value), name


def test_random_damage_is_an_error_or_a_graph(archive: str, tmp_path: Path) -> None:
    whole = bytearray(Path(archive).read_bytes())
    rng = random.Random(7)
    path = tmp_path / "damaged.pt2"
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 12)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(EdpcError):
            load(str(path), batch=4)


def test_another_version_says_which_torch_it_needs(archive: str, tmp_path: Path) -> None:
    path = rewritten(archive, tmp_path / "old.pt2", described(lambda model: model["schema_version"].update(major=5)))
    with pytest.raises(ModelError, match=r"version 5 .* torch 2\.6 or newer"):
        load(path)


def test_an_entry_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zip_bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("model/models/model.json", b" " * (1 << 24))
    with pytest.raises(ModelError, match="not believable"):
        load(str(path))


FACTORY = """
import torch
from torch import nn

def good():
    return nn.Linear(4, 4), (torch.zeros(1, 4),)

def own():
    module = nn.Linear(4, 8)
    module.example_inputs = torch.zeros(3, 4)
    return module

def looks():
    return nn.Linear(int(torch.ones(4).sum().item()), 4), (torch.zeros(1, 4),)

def fails():
    raise RuntimeError("no luck\\ntoday")

def nothing():
    return 3

ready = own()
number = 3
"""


def test_factories_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_networks.py").write_text(FACTORY, encoding="utf-8")
    Path("my_broken.py").write_text("import no_such_thing_anywhere", encoding="utf-8")
    path = list(sys.path)
    assert load("my_networks:good", batch=7).info.batch == 7
    assert load("my_networks:own").info.parameters == 40
    assert load("my_networks:ready").info.batch == 3
    assert load("my_networks:looks").info.parameters == 20
    for name, error, words in (
        ("my_networks:god", UsageError, "did you mean 'good'"),
        ("my_network:good", UsageError, "no module 'my_network'"),
        ("my_broken:good", UsageError, "no module 'no_such_thing_anywhere', which my_broken imports"),
        ("my_networks:number", UsageError, "no factory but a int"),
        ("my_networks:fails", ModelError, "failed with RuntimeError: no luck$"),
        ("my_networks:nothing", ModelError, "answers a int"),
    ):
        with pytest.raises(error, match=words) as caught:
            load(name)
        assert "\n" not in str(caught.value)
    assert sys.path == path
