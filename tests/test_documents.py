"""The documents tell the truth: their outputs are what the commands print, their examples work as they say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import edpc
from tools import readme

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
RESNET = str(ROOT / "tests" / "models" / "resnet18.onnx")
FOLDING = "import-cleanup,fold-batch-norm,apply-precision,annotate-operators,fuse-operators,annotate-cost,attribute-edp"


def marked() -> Iterator[Any]:
    """Every command that a document shows the output of, as (document, command, what it shows)."""
    for name in readme.DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for number, found in enumerate([*readme.BLOCK.finditer(text), *readme.TABLE.finditer(text)]):
            yield pytest.param(name, found["command"], found["text"], id=f"{name}-{number}")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "command", "shown"), list(marked()))
def test_outputs_are_what_the_commands_print(name: str, command: str, shown: str) -> None:
    if command.startswith("tools.validate"):
        pytest.importorskip("torch")
        if not readme.FOLDER.is_dir():
            pytest.skip("the measurements are not at hand")
    if "edpc block:" in command:
        pytest.importorskip("torch")
    assert readme.output_of(command) == shown, f"renew it with: python -m tools.readme {name}"


def test_the_readme_has_its_two_commands_and_real_outputs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- run -->\n```sh\n" in text
    assert "<!-- test -->\n```sh\n" in text
    assert len(readme.BLOCK.findall(text)) >= 3


@pytest.mark.parametrize("name", readme.DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link


def test_the_example_target_works_from_outside_the_tree(tmp_path: Path) -> None:
    file = shutil.copy(EXAMPLES / "my_npu.py", tmp_path)
    assert len(Path(file).read_text().splitlines()) < 150
    done = edpc(RESNET, "--batch", "1", "--target", file, "--precision", "int8", "--emit", "json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["target"]["name"] == "my-npu"
    assert report["target"]["precision"] == "int8"
    assert any(s["fusion_pattern"] == "streamed-epilogue" and s["num_operators"] == 4 for s in report["subgraphs"])


def test_the_example_pass_works_from_outside_the_tree(tmp_path: Path) -> None:
    file = shutil.copy(EXAMPLES / "fold_batch_norm.py", tmp_path)
    assert len(Path(file).read_text().splitlines()) < 100
    plain = json.loads(edpc(RESNET, "--batch", "1", "--emit", "json").stdout)
    done = edpc(RESNET, "--batch", "1", "--pass-file", file, "--pass-pipeline", FOLDING, "--emit", "json")
    assert done.exit_code == 0, done.stderr
    folded = json.loads(done.stdout)
    types = [[o["operator_type"] for o in report["operators"]] for report in (plain, folded)]
    assert [t.count("batch_norm") for t in types] == [20, 0]
    assert folded["model"]["macs"] == plain["model"]["macs"]
    some = FOLDING.replace("fold-batch-norm", "fold-batch-norm{at-most=3}")
    done = edpc(RESNET, "--batch", "1", "--pass-file", file, "--pass-pipeline", some, "--emit", "json")
    assert [o["operator_type"] for o in json.loads(done.stdout)["operators"]].count("batch_norm") == 17
