"""`hf:PATH`: what a configuration becomes, what is refused, and what a token costs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from command_line import ROOT, edpc, refused
from configurations import CONFIGURATIONS

import edpc as api
from edpc.emit.json_schema import json_schema
from edpc.ir import Graph
from edpc.ir.text import parse_graph, print_graph
from edpc.operators import work
from edpc.report import Report

pytest.importorskip("torch")
pytest.importorskip("transformers")

TINY: dict[str, dict[str, Any]] = {
    kind: {"model_type": kind, "architectures": [architecture], **sizes} for _, kind, architecture, sizes in CONFIGURATIONS
}
# Llama 3 8B as its authors describe it.
LLAMA_3_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "vocab_size": 128256,
}
LAYER_WEIGHTS = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336  # q and out, k and v, the three of the feed-forward


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """Writes a configuration; answers how it is named as a model."""

    def write(content: Any, name: str = "config.json") -> str:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return f"hf:{path}"

    return write


def macs(graph: Graph) -> int:
    return sum(work(op).macs for _, op in graph.items() if op.is_compute)


def test_a_folder_is_its_configuration_and_names_the_model(config: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TINY["llama"]))
    report = api.compile(f"hf:{folder}")
    assert report.model.name == "tiny-llama"
    assert report.model.macs == api.compile(f"hf:{folder}/config.json").model.macs > 0
    assert any("LlamaForCausalLM" in note for note in report.coverage.notes)


def test_the_cache_goes_in_and_out_and_only_new_tokens_are_written(config: Any) -> None:
    graph = api.load(config(TINY["llama"]), batch=3, phase="decode", past=20)
    inputs = {op.location.source_name: op for _, op in graph.items() if op.kind == "input" and op.location}
    kept = {name: op.outputs[0].shape for name, op in inputs.items() if name.startswith("past_")}
    # two layers, keys and values, [batch, key heads, 20 past and 1 new, head width]
    assert kept == {f"past_{layer}_{part}": (3, 2, 21, 8) for layer in (0, 1) for part in ("keys", "values")}
    writes = [op for _, op in graph.items() if op.kind == "tensor_scatter"]
    assert len(writes) == 4
    assert {sum(work(op).writes) for op in writes} == {3 * 2 * 1 * 8 * 4}  # fp32, one token
    returned = next(op for _, op in graph.items() if op.kind == "return")
    assert sum(each.shape == (3, 2, 21, 8) for each in returned.inputs) >= 4


def test_prefill_leaves_the_cache_and_the_logits_of_the_last_token(config: Any) -> None:
    graph = api.load(config(TINY["llama"]), batch=2, seq=10, phase="prefill")
    returned = next(op for _, op in graph.items() if op.kind == "return")
    shapes = [each.shape for each in returned.inputs]
    assert shapes.count((2, 2, 10, 8)) == 4
    assert (2, 1, 128) in shapes
    assert not any(name.startswith("past_") for name, _ in graph.items())


def test_a_call_of_no_phase_makes_the_logits_of_every_token(config: Any) -> None:
    source = config(TINY["llama"])
    plain, served = (api.load(source, batch=2, seq=10, phase=phase) for phase in (None, "prefill"))
    returned = next(op for _, op in plain.items() if op.kind == "return")
    assert (2, 10, 128) in [each.shape for each in returned.inputs]
    # the head: 9 more tokens of 2 sequences by 32 features by 128 words
    assert macs(plain) - macs(served) == 2 * 9 * TINY["llama"]["hidden_size"] * 128


def test_attention_is_written_out_where_the_configuration_asks(config: Any) -> None:
    reports = {
        named: api.compile(config({**TINY["llama"], **asked}), "h100", seq=10, set=["launch=eager"])
        for named, asked in (("fused", {}), ("written", {"attn_implementation": "eager"}))
    }
    patterns = {named: [s.fusion_pattern for s in report.subgraphs] for named, report in reports.items()}
    assert sum("attention" in pattern for pattern in patterns["fused"]) == 2
    assert not any("attention" in pattern for pattern in patterns["written"])
    assert reports["fused"].model.macs == reports["written"].model.macs
    assert any("written out" in note for note in reports["written"].coverage.notes)


def test_causal_attention_needs_no_mask_and_shared_heads_are_not_repeated(config: Any) -> None:
    graph = api.load(config(TINY["llama"]), seq=10)
    kinds = [op.kind for _, op in graph.items()]
    assert "less_equal" not in kinds
    assert "where" not in kinds
    # four query heads share two key heads: QK^T has [2 heads, 2 shared, ...] or broadcasts, and no copy is as large as four heads
    assert not any(op.kind in ("expand", "tile") for _, op in graph.items())


def test_a_sliding_window_bounds_the_cache(config: Any) -> None:
    graph = api.load(config(TINY["mistral"]), phase="decode", past=100)
    kept = {op.outputs[0].shape for _, op in graph.items() if op.kind == "input" and len(op.outputs[0].dims()) == 4}
    assert kept == {(1, 2, 16, 8)}  # the window, whatever the past


def test_an_encoder_decoder_reads_the_prompt_once(config: Any) -> None:
    source = config(TINY["t5"])
    prefill, decode = api.load(source, seq=40), api.load(source, phase="decode", past=8)
    assert macs(prefill) > 10 * macs(decode)
    cross = [
        op.outputs[0].shape
        for _, op in decode.items()
        if op.kind == "input" and op.location and "cross_attention" in op.location.source_name
    ]
    assert len(cross) == 4  # keys and values of two layers
    assert {shape[2] for shape in cross if shape} == {128}
    longer = api.load(source, phase="decode", past=8, shapes={"input_ids": (1, 512)})
    # AV and QK^T of two layers, four heads of width 8, over 384 more tokens
    assert macs(longer) - macs(decode) == 2 * 2 * 4 * 8 * 384


@pytest.mark.parametrize(
    ("batch", "seq", "rows"),
    [(2, 40, [20] * 4), (1, 3, [1] * 3), (2, 400, [128] * 4)],  # an even share; fewer tokens than experts; 64 a sequence at most
)
def test_experts_called_in_a_loop_get_their_even_share(config: Any, batch: int, seq: int, rows: list[int]) -> None:
    graph = api.load(config(TINY["switch_transformers"]), batch=batch, seq=seq)
    paths = {op.location.module_path: op.outputs[0].dims()[0] for _, op in graph.items() if op.location and op.kind == "matmul"}
    where = "encoder.block.1.layer.1.mlp.experts."
    assert [paths[f"{where}expert_{number}.wi"] for number in range(len(rows))] == rows
    assert sum(path.startswith(where) for path in paths) == 2 * len(rows)
    assert "every expert reads its even share of the tokens" in graph.info.notes


def test_a_chunk_of_a_prompt_attends_to_the_past(config: Any) -> None:
    source = config(TINY["llama"])
    chunk, first = api.load(source, seq=8, past=24), api.load(source, seq=8, phase="prefill")
    # Per layer QK^T and AV grow from 8 x 8 to 8 x 32 in each of four heads of width 8.
    assert macs(chunk) - macs(first) == 2 * 2 * 4 * 8 * (8 * 32 - 8 * 8)
    assert (chunk.info.phase, chunk.info.past, chunk.info.tokens) == ("prefill", 24, 8)


def test_tokens_are_counted_over_the_batch(config: Any) -> None:
    source = config(TINY["llama"])
    for options, phase, past, tokens in (
        ({"batch": 3, "seq": 10}, "prefill", 0, 30),
        ({"batch": 3, "phase": "decode", "past": 12}, "decode", 12, 3),
        ({"batch": 3, "seq": 4, "phase": "decode", "past": 12}, "decode", 12, 12),
    ):
        report = api.compile(source, "h100", **options)
        serving = report.serving
        assert serving is not None
        assert (serving.phase, serving.past, serving.tokens) == (phase, past, tokens)
        assert serving.energy_j_per_token * tokens == pytest.approx(report.energy_j, rel=1e-12)
        assert serving.latency_s_per_token * tokens == pytest.approx(report.latency_s, rel=1e-12)
    assert api.compile(config(TINY["bert"])).serving is None


def test_what_a_token_costs_is_in_every_form(config: Any) -> None:
    source = config(TINY["llama"])
    done = edpc(source, "--phase", "decode", "--past", "12", "--batch", "2", "-t", "tpu", "--emit", "json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    jsonschema_rs.validate(json_schema(Report), content)
    assert content["serving"]["tokens"] == 2
    text = edpc(source, "--phase", "decode", "--past", "12", "--batch", "2", "-t", "tpu").stdout
    assert "per generated token" in text
    assert "2 tokens of the whole batch after 12 tokens of each sequence" in text
    assert "per prompt token" in edpc(source).stdout
    graph = api.load(source, phase="decode", past=12)
    assert parse_graph(print_graph(graph)).info == graph.info


def test_dtype_is_that_of_the_configuration(config: Any) -> None:
    report = api.compile(config({**TINY["llama"], "dtype": "bfloat16"}), "h100")
    assert report.target.precision == "bf16"


def test_a_configuration_without_architectures_stands_for_its_type(config: Any) -> None:
    for kind, found in (
        ("llama", "LlamaForCausalLM"),
        ("bert", "BertModel"),
        ("t5", "T5ForConditionalGeneration"),
        ("vit", "ViTModel"),
    ):
        content = {key: value for key, value in TINY[kind].items() if key != "architectures"}
        graph = api.load(config(content))
        assert graph.name == found
        assert any(f"names no architecture; {found}" in note for note in graph.info.notes)


def test_quantization_of_the_configuration_is_named_and_not_applied(config: Any) -> None:
    graph = api.load(config({**TINY["llama"], "quantization_config": {"quant_method": "gptq", "bits": 4}}))
    assert any("quantization is not applied" in note for note in graph.info.notes)


def test_more_positions_than_there_are_get_a_note(config: Any) -> None:
    graph = api.load(config({**TINY["llama"], "max_position_embeddings": 32}), seq=33)
    assert any("33 positions" in note for note in graph.info.notes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["is no JSON"]),
        ("[" * 100_000, ["is no JSON"]),
        ("[]", ["no JSON object"]),
        ('{"a": "' + "x" * (1 << 20) + '"}', ["larger than"]),
        ("{}", ["names no model_type"]),
        ({"model_type": "lama"}, ["'lama'", "did you mean"]),
        ({"model_type": ["llama"]}, ["not known"]),
        ({"model_type": "mine", "auto_map": {"AutoModel": "code.Model"}}, ["never run"]),
        ({"model_type": "llama", "architectures": ["LlamaForCausalML"]}, ["'LlamaForCausalML'", "did you mean"]),
        ({"model_type": "llama", "architectures": ["os"]}, ["'os'"]),
        ({"model_type": "llama", "architectures": ["AutoModel"]}, ["'AutoModel'"]),
        ({"model_type": "llama", "architectures": ["BertModel"]}, ["'BertModel'", "not of the model_type 'llama'"]),
        ({"model_type": "llama", "num_hidden_layers": 10**9}, ["num_hidden_layers", "believable"]),
        ({"model_type": "llama", "hidden_size": 10**400}, ["hidden_size", "believable"]),
        ({**TINY["llama"], "hidden_size": "wide"}, ["no configuration of 'LlamaConfig'"]),
        ({**TINY["bert"], "num_attention_heads": 5}, ["cannot be built"]),
        ({**TINY["llama"], "hidden_size": 1 << 30, "head_dim": 1 << 30, "num_attention_heads": 1 << 30}, ["cannot be"]),
        ({"model_type": "llama", "x": json.loads("[" * 40 + "]" * 40)}, ["nested"]),
    ],
    ids=str,
)
def test_broken_and_hostile_files_get_one_sentence(config: Any, content: Any, words: list[str]) -> None:
    refused(edpc(config(content)), 3, "config.json", *words)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(edpc(f"hf:{tmp_path}/none.json"), 3, "none.json", "cannot be read")
    refused(edpc(f"hf:{tmp_path}"), 3, "config.json", "cannot be read")


def test_modules_without_end_are_refused(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edpc.frontends.hf.library.MAX_MODULES", 20)
    refused(edpc(config(TINY["llama"])), 3, "more than 20 modules")


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("bert", ["--phase", "decode"], ["keeps no cache"]),
        ("bert", ["--past", "4"], ["keeps no cache"]),
        ("vit", ["--seq", "4"], ["reads no sequence"]),
        ("llama", ["--phase", "decode", "--past", "0"], ["--past of 1 or more"]),
        ("llama", ["--phase", "encode"], ["--phase"]),
        ("llama", ["--seq", "0"], ["--seq"]),
        ("llama", ["--dim", "batch=4"], ["no free dimension"]),
        ("llama", ["--shape", "pixels=1,2"], ["no input 'pixels'"]),
        ("llama", ["--shape", "input_ids=1,2"], ["--batch and --seq"]),
        ("t5", ["--past", "4"], ["leave --past out"]),
    ],
)
def test_options_that_make_no_sense(config: Any, kind: str, options: list[str], words: list[str]) -> None:
    done = edpc(config(TINY[kind]), *options)
    assert done.exit_code == 2, done.output
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("options", [["--seq", "4"], ["--phase", "decode"], ["--past", "4"]])
@pytest.mark.parametrize("model", ["tests/models/linear_bias_relu.onnx", "block:mlp", "tests/filecheck/ir/groups.edp"])
def test_only_a_configuration_has_phases(model: str, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    refused(edpc(model, *options), 2, options[0], "hf:PATH")


def test_python_checks_what_the_command_line_checks(config: Any) -> None:
    source = config(TINY["llama"])
    for options in ({"phase": "train"}, {"seq": 0}, {"past": -1}):
        with pytest.raises(api.UsageError, match=next(iter(options))):
            api.compile(source, **options)  # type: ignore[arg-type]


def test_an_input_takes_another_shape(config: Any) -> None:
    report = api.compile(config(TINY["resnet"]), shapes={"pixel_values": (2, 3, 64, 96)})
    assert report.model.inputs[0].shape == (2, 3, 64, 96)


def test_without_transformers_one_sentence(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(edpc(config(TINY["llama"])), 2, "pip install edpc[hf]")


def test_an_old_transformers_is_named(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.__version__", "4.9.1")
    refused(edpc(config(TINY["llama"])), 2, "4.9.1", "pip install edpc[hf]")


def test_the_environment_and_the_network_are_left_alone(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = dict(os.environ)
    content = {**TINY["llama"], "attn_implementation": "somebody/kernel", "_attn_implementation": "somebody/kernel"}
    assert api.compile(config({**content, "use_pretrained_backbone": True})).serving
    assert dict(os.environ) == before


def llama_3_8b(tokens: int, past: int, rows: int) -> tuple[int, int]:
    """MACs, and bytes in 16 bits of weights and cache, of one step of so many sequences; logits are of the last token."""
    attention = 32 * 2 * 4096  # QK^T and AV of 32 layers, per query token and key token
    per_row = tokens * 32 * LAYER_WEIGHTS + tokens * (past + tokens) * attention + 4096 * 128256
    cache = rows * 2 * 32 * 8 * 128 * (past + tokens)
    return rows * per_row, 2 * (32 * LAYER_WEIGHTS + 4096 * 128256 + cache)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        (["--phase", "prefill", "--seq", "2048"], (2048, 0, 1)),
        (["--phase", "decode", "--past", "2048", "--batch", "8"], (1, 2048, 8)),
        (["--phase", "decode", "--past", "2048", "--batch", "64"], (1, 2048, 64)),
    ],
    ids=["prefill", "decode 8", "decode 64"],
)
def test_llama_3_8b_counts_what_its_sizes_say_within_its_budgets(
    config: Any, tmp_path: Path, options: list[str], sizes: tuple[int, int, int]
) -> None:
    import resource
    import subprocess

    command = [sys.executable, "-m", "edpc.cli.main", config(LLAMA_3_8B), "-t", "h100", "--precision", "bf16"]
    command += ["--emit", "report,json", "-o", str(tmp_path / "out")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 30  # of processor: the machine may be shared
    assert after.ru_maxrss < 2 * 1024 * 1024  # KiB
    assert "token" in (tmp_path / "out.txt").read_text()
    report = json.loads((tmp_path / "out.json").read_bytes())
    expected_macs, streamed = llama_3_8b(*sizes)
    assert report["model"]["macs"] == expected_macs
    # The 64 frequencies of the rotary embedding are stored too.
    assert report["model"]["parameters"] == 32 * (LAYER_WEIGHTS + 2 * 4096) + 4096 + 2 * 4096 * 128256 + 64
    assert report["serving"]["tokens"] == sizes[0] * sizes[2]
    if "decode" in options:
        assert report["totals"]["dram_bytes"] == pytest.approx(streamed, rel=0.02)
