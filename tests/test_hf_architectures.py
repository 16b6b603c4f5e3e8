"""Architectures of transformers from configuration to report; counts against torch's FlopCounterMode on the library's model."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from configurations import CONFIGURATIONS, Configuration

import edpc
from edpc.operators import work

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOKENS = 8
GENERATORS = frozenset({"decoder", "encoder-decoder", "mixture of experts", "state space"})
# Their cache is of a kind of its own that the library does not take back as a `Cache`.
NO_CACHE = frozenset({"rwkv"})
# The counter does not know grouped products, nor a shape how many tokens a loop over experts finds.
EXPERTS = frozenset({"mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "deepseek_v3", "jamba", "dbrx", "switch_transformers"})


def written(configuration: Configuration, folder: Path) -> str:
    _, kind, architecture, sizes = configuration
    path = folder / f"{kind}.json"
    path.write_text(json.dumps({"model_type": kind, "architectures": [architecture], **sizes}))
    return f"hf:{path}"


def counted_macs(configuration: Configuration, report: edpc.Report) -> int:
    """MACs of the same call, run by the library with its attention written out."""
    from torch.utils.flop_counter import FlopCounterMode

    _, kind, architecture, sizes = configuration
    model_class = getattr(transformers, architecture)
    config = transformers.CONFIG_MAPPING[kind].from_dict(dict(sizes))
    model = model_class._from_config(config, attn_implementation="eager").eval().requires_grad_(False)
    names = import_module("inspect").signature(model_class.forward).parameters
    inputs: dict[str, Any] = {
        each.name: torch.ones(each.shape, dtype=torch.long if each.dtype == "int64" else torch.float32)
        for each in report.model.inputs
        if each.name in names
    }
    with FlopCounterMode(display=False) as counter:
        model(**inputs)
    return int(counter.get_total_flops()) // 2


@pytest.mark.slow
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda each: each[1])
def test_an_architecture_goes_to_a_report(
    configuration: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, kind, architecture, _ = configuration
    source = written(configuration, tmp_path)
    reads_text = family not in ("vision", "audio")
    graph = edpc.load(source, batch=2, seq=TOKENS if reads_text else None)
    macs = sum(work(op).macs for _, op in graph.items() if op.is_compute)
    report = edpc.compile(graph, "h100")
    coverage = report.coverage
    with capsys.disabled():
        print(
            f"\n{family}: {architecture}: {coverage.operators_modelled} of {coverage.operators_total} operators modelled", end=""
        )
    assert coverage.unknown == ()
    assert coverage.operators_modelled == coverage.operators_total > 10
    assert report.model.format == "hf"
    assert report.target.batch == 2
    assert math.isclose(sum(op.energy_j for op in report.operators), report.energy_j, rel_tol=1e-9)
    assert math.isclose(sum(op.edp_js for op in report.operators), report.edp_js, rel_tol=1e-9)
    if kind not in EXPERTS:
        assert macs == counted_macs(configuration, report)
        assert report.model.macs <= macs  # what depends on no input is folded away
    if family in GENERATORS - {"encoder-decoder"} and kind not in NO_CACHE:
        assert report.serving is not None
        assert (report.serving.phase, report.serving.tokens) == ("prefill", 2 * TOKENS)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", [each for each in CONFIGURATIONS if each[0] in GENERATORS], ids=lambda each: each[1])
def test_a_generator_adds_tokens_to_its_cache(configuration: Configuration, tmp_path: Path) -> None:
    source = written(configuration, tmp_path)
    if configuration[1] in NO_CACHE:
        with pytest.raises(edpc.UsageError, match="keeps no cache"):
            edpc.compile(source, "h100", phase="decode")
        return
    report = edpc.compile(source, "h100", batch=2, phase="decode", past=24)
    assert report.coverage.unknown == ()
    assert report.coverage.operators_modelled == report.coverage.operators_total
    assert report.serving is not None
    assert (report.serving.phase, report.serving.past, report.serving.tokens) == ("decode", 24, 2)
    assert any(each.name.startswith("past_") for each in report.model.inputs)
    assert all(each.shape and each.shape[0] == 2 for each in report.model.inputs)


def test_the_list_covers_every_family() -> None:
    families = {family for family, *_ in CONFIGURATIONS}
    assert families == GENERATORS | {"encoder", "vision", "audio"}
    assert len({kind for _, kind, *_ in CONFIGURATIONS}) == len(CONFIGURATIONS) >= 25
