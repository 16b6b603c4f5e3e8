"""Finding passes and targets: entry points, the folders beside edpc, files of the user; and what is said when it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from edpc import registry
from edpc.errors import UsageError
from edpc.pipeline.base import Pass
from edpc.target import Target

PASS = """
from dataclasses import dataclass
from typing import ClassVar
from edpc.pipeline.base import Pass

@dataclass(frozen=True)
class {cls}(Pass):
    '''Nothing is true afterwards.'''
    name: ClassVar[str] = "{name}"
    size: int = 1

    def run(self, graph, ctx):
        return False
"""

TARGET = """
from edpc.target import *

def q(value, unit):
    return Quantity(value, unit, Basis.ASSUMED, "made up")

RAM = Memory("ddr", "dram", q(1e9, "B"), q(1e9, "B/s"), q(1e-11, "J/B"), q(1e-11, "J/B"))
TARGET = Target(
    name="{name}", summary="a toy", architecture="roofline",
    units=(Unit("matrix", {{"fp32": q(1e12, "FLOP/s")}}, {{"fp32": q(1e-12, "J/FLOP")}}),), memories=(RAM,),
    static_power=q(1.0, "W"), parameters={{"launch.time": q(1e-6, "s")}}, precisions={{}}, rules=(),
    settings={{"launch": Setting("graph", ("graph", "eager"), "how kernels are launched")}},
)
"""

Install = Callable[[str, dict[str, str]], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package of these modules on the path and registers it in both groups, as an installed distribution would."""
    points: list[EntryPoint] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(points).select(group=group))
    before = set(sys.modules)

    def put(package: str, modules: dict[str, str]) -> Path:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        points.extend(EntryPoint(package, package, group) for group in ("edpc.passes", "edpc.targets"))
        registry._packages.cache_clear()
        return folder

    registry._packages.cache_clear()
    yield put
    registry._packages.cache_clear()
    for name in set(sys.modules) - before:
        if name.split(".")[0].startswith("plug"):
            del sys.modules[name]


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_built_in_passes_are_found_by_name() -> None:
    found = registry.passes()
    assert list(found) == sorted(found)
    assert {"import-cleanup", "annotate-operators", "fuse-operators", "annotate-cost", "attribute-edp"} <= found.keys()
    assert all(issubclass(each, Pass) and each.name == name for name, each in found.items())
    assert registry.find_pass("annotate-cost") is found["annotate-cost"]


def test_built_in_targets_are_found_by_name() -> None:
    found = registry.targets()
    assert {"h100", "h100-pcie", "kpu", "tpu", "cpu"} <= found.keys()
    assert registry.target_names() == list(found)
    assert registry.find_target("h100-pcie") is found["h100-pcie"]


def test_looking_up_one_imports_one() -> None:
    code = (
        "import sys; from edpc.registry import find_pass, find_target, target_names; "
        "target_names(); find_target('h100-pcie'); find_pass('annotate-cost'); "
        "print(sorted(m for m in sys.modules if m.startswith(('passes.', 'targets.'))))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    loaded = done.stdout
    assert "'passes.annotate_cost'" in loaded
    assert "'targets.h100_pcie'" in loaded
    assert "fuse_operators" not in loaded
    assert "targets.tpu" not in loaded


def test_a_registered_package_is_scanned(install: Install) -> None:
    install(
        "plug_a", {"my_pass": PASS.format(cls="MyPass", name="my-pass"), "npu": TARGET.format(name="npu"), "_private": "1 / 0"}
    )
    assert registry.find_pass("my-pass").name == "my-pass"
    assert registry.find_target("npu").name == "npu"
    assert "my-pass" in registry.passes()
    assert {"npu", "cpu"} <= registry.targets().keys()


def test_a_pass_is_found_in_a_module_that_is_called_otherwise(install: Install) -> None:
    both = PASS.format(cls="A", name="pass-a") + PASS.format(cls="B", name="pass-b")
    install("plug_b", {"several": both, "machine": TARGET.format(name="odd-name")})
    assert registry.find_pass("pass-b").name == "pass-b"
    assert registry.find_target("odd-name").name == "odd-name"


def test_two_of_one_name_are_an_error_that_names_both_files(install: Install) -> None:
    install("plug_c", {"my_pass": PASS.format(cls="P", name="my-pass"), "npu": TARGET.format(name="npu")})
    install("plug_d", {"my_pass": PASS.format(cls="P", name="my-pass"), "other": TARGET.format(name="npu")})
    said = refusal(lambda: registry.find_pass("my-pass"))
    assert "two passes are called 'my-pass': " in said
    assert "plug_c/my_pass.py and " in said
    assert "plug_d/my_pass.py; rename one" in said
    assert "plug_d/other.py" in refusal(registry.targets)


def test_a_module_that_cannot_be_imported_is_named_with_its_line(install: Install) -> None:
    install("plug_e", {"broken": "import os\n1 / 0\n"})
    said = refusal(registry.passes)
    assert said.endswith("plug_e/broken.py:2: ZeroDivisionError: division by zero")


def test_unknown_names_say_which_may_be_meant() -> None:
    assert (
        refusal(lambda: registry.find_pass("fuse-operator")) == "there is no pass 'fuse-operator'; did you mean 'fuse-operators'?"
    )
    assert refusal(lambda: registry.find_target("h10O")) == "there is no target 'h10O'; did you mean 'h100'?"
    assert refusal(lambda: registry.find_target("zzzz")).endswith("see `edpc targets`, or give a file ./NAME.py")


# --- files of the user ---------------------------------------------------------------------------------------


def test_a_target_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "my npu.py"
    file.write_text(TARGET.format(name="my-npu"))
    assert registry.find_target(str(file)).name == "my-npu"
    file.write_text(TARGET.format(name="changed-since"))
    assert registry.find_target(str(file)).name == "changed-since"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "defines no TARGET; it must define TARGET = edpc.target.Target(...)"),
        ("TARGET = 3", "defines a TARGET that is a int; it must define"),
        ("x = 1\nTARGET = (", "t.py:2: '(' was never closed"),
        ("x = 1\n\nx.y", "t.py:3: AttributeError: 'int' object has no attribute 'y'"),
        ("import no_such_module", "t.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(5)", "t.py:1: SystemExit: 5"),
        (
            "from edpc.target import Quantity, Basis\nQuantity(1, 's', Basis.ASSUMED, '')",
            "t.py:2: ValueError: 1 s: a quantity needs a source",
        ),
    ],
)
def test_a_target_file_that_is_wrong_is_one_sentence_with_a_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "t.py"
    file.write_text(text)
    assert message in refusal(lambda: registry.find_target(str(file)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(lambda: registry.find_target(str(tmp_path / "no.py"))).startswith("there is no file ")


def test_passes_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PASS.format(cls="A", name="pass-a") + PASS.format(cls="B", name="pass-b"))
    found = registry.load_passes(file)
    assert list(found) == ["pass-a", "pass-b"]
    assert registry.find_pass("pass-a", found) is found["pass-a"]
    assert refusal(lambda: registry.find_pass("pass-c", found)) == "there is no pass 'pass-c'; did you mean 'pass-b'?"
    other = tmp_path / "other.py"
    other.write_text(PASS.format(cls="A", name="pass-a"))
    assert "two passes are called 'pass-a'" in refusal(lambda: registry.load_all_passes([file, other]))
    taken = tmp_path / "taken.py"
    taken.write_text(PASS.format(cls="A", name="annotate-cost"))
    said = refusal(lambda: registry.find_pass("annotate-cost", registry.load_passes(taken)))
    assert "passes/annotate_cost.py and " in said
    other.write_text("from edpc.pipeline.base import Pass\n")
    assert "defines no pass" in refusal(lambda: registry.load_passes(other))
    other.write_text(PASS.format(cls="A", name="a").replace("name: ClassVar", "label: ClassVar"))
    assert "pass A has no name" in refusal(lambda: registry.load_passes(other))


# --- constants and settings ----------------------------------------------------------------------------------


@pytest.fixture
def toy(tmp_path: Path) -> Target:
    file = tmp_path / "toy.py"
    file.write_text(TARGET.format(name="toy"))
    return registry.find_target(str(file))


def test_sets_exchange_constants_and_settings(toy: Target, tmp_path: Path) -> None:
    sets = ["ddr.bandwidth=4.8TB/s", "launch=eager", "launch.time = 2us", "matrix.fp32.rate=2e12", "static_power=3"]
    changed = registry.find_target(str(tmp_path / "toy.py"), sets)
    constants = changed.constants()
    assert constants["dram.bandwidth"] == 4.8e12
    assert constants["launch.time"] == 2e-6
    assert constants["matrix.fp32.rate"] == 2e12
    assert constants["static_power"] == 3.0
    assert changed.setting("launch") == "eager"
    assert changed.quantities()["ddr.bandwidth"].source == "set by the user to 4.8TB/s"


def test_a_memory_may_be_named_by_its_role(toy: Target) -> None:
    assert registry.apply_set(toy, "dram.bandwidth=2GB/s") == registry.apply_set(toy, "ddr.bandwidth=2GB/s")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ddr.bandwidth", "--set ddr.bandwidth: expected KEY=VALUE"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("ddr.bandwith=3", "there is no constant of target toy 'ddr.bandwith'; did you mean 'ddr.bandwidth'?"),
        ("lunch=eager", "there is no constant of target toy 'lunch'; did you mean 'launch'?"),
        ("zzz=1", "there is no constant of target toy 'zzz'; see `edpc targets toy`"),
        ("launch=lazy", "setting launch of target toy is one of graph, eager, not 'lazy'"),
        ("ddr.bandwidth=fast", "'fast' is not a number in B/s"),
        ("ddr.bandwidth=0", "ddr.bandwidth of target toy must be above zero"),
        ("static_power=-1", "static_power of target toy must be at least zero"),
    ],
)
def test_sets_that_do_not_apply(toy: Target, text: str, message: str) -> None:
    assert message in refusal(lambda: registry.apply_set(toy, text))
