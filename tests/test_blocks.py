"""Building blocks: parameters are what they say, counts are exact, and larger batches do more arithmetic per byte."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections import Counter
from importlib import import_module
from typing import Any

import pytest

import edpc
from edpc.blocks import BLOCKS, build, find_block, parse_block
from edpc.errors import UsageError
from edpc.report import Report
from tests.command_line import ROOT, process, refused
from tests.command_line import edpc as run

SMALL: dict[str, str] = {  # what makes the large ones quick to export; the counts that follow from it are torch's
    "resnet50": "size=32",
    "mobilenet-v2": "size=32",
    "vit-b-16": "layers=1",
    "bert-base": "layers=1",
    "gpt2": "layers=1",
    "llama-decoder": "layers=1&vocabulary=1000",
}
EXACT = {
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "mobilenet-v2": 300_775_552,  # 1,001 classes; with 1,000 it is 1,280 less
    "vit-b-16": 17_563_828_224,  # with its classifier of 768 x 1,000
    "bert-base": 11_174_215_680,  # with its pooler of 768 x 768
    "gpt2": 16_114_089_984,  # with logits of all 128 tokens: 128 x 768 x 50,257
}


# --- without torch ----------------------------------------------------------------------------------------------


def test_a_block_with_parameters_is_parsed() -> None:
    assert parse_block("block:mlp?hidden=512&batch=4") == ("mlp", {"batch": 4, "features": 128, "hidden": 512, "outputs": 64})
    assert parse_block("block:pooling?mode=average")[1]["mode"] == "average"
    assert parse_block("block:gpt2")[1] == {p.name: p.default for p in BLOCKS["gpt2"].parameters}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("block:resnet81", "did you mean 'resnet18'?"),
        ("block:", "there is no block ''; see `edpc blocks`"),
        ("block:mlp?hiden=3", "block:mlp has no parameter 'hiden'; did you mean 'hidden'?"),
        ("block:mlp?zzz=3", "it has batch, features, hidden, outputs"),
        ("block:mlp?hidden=wide", "block:mlp: hidden is a whole number, not 'wide'"),
        ("block:mlp?hidden=1.5", "is a whole number"),
        ("block:mlp?hidden=1000000000000", "block:mlp: hidden is between 1 and 262144, not 1000000000000"),
        ("block:mlp?batch=0", "between 1 and 4096"),
        ("block:mlp?batch=" + "9" * 5000, "is a whole number, not '" + "9" * 40 + "'"),
        ("block:mlp?batch", "'batch' is no parameter; write for example block:mlp?batch=4"),
        ("block:mlp?batch=1&batch=2", "parameter 'batch' is given twice"),
        ("block:mlp?", "'' is no parameter"),
        ("block:pooling?mode=mean", "mode is one of max, average, not 'mean'"),
        ("block:attention-head?heads=3", "width 128 is no multiple of heads 3"),
        ("block:llama-decoder?kv_heads=5", "heads 32 is no multiple of kv_heads 5"),
        ("block:llama-decoder?width=32", "width 32 is no multiple of 2 x heads 32"),
        ("block:bert-base?tokens=513", "between 1 and 512"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(source: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_block(source)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_every_parameter_is_documented_and_within_its_own_bounds() -> None:
    for block in BLOCKS.values():
        assert block.summary
        names = [p.name for p in block.parameters]
        assert names[0] == "batch"
        assert len(set(names)) == len(names)
        for p in block.parameters:
            assert p.meaning, (block.name, p.name)
            assert p.default in p.choices if p.choices else p.least <= int(p.default) <= p.most
        assert {name for larger, smaller, _ in block.multiples for name in (larger, smaller)} <= set(names)


def test_the_command_lists_blocks_and_tells_about_one() -> None:
    listed = run("blocks").stdout
    assert all(f"\n  {name} " in listed for name in BLOCKS)
    told = run("blocks", "llama-decoder").stdout
    for words in ("kv_heads", "prefill, decode", "1 to 4,096", "edpc 'block:llama-decoder?batch=4'"):
        assert words in told
    assert run("blocks", "block:mlp").stdout == run("blocks", "mlp").stdout
    refused(run("blocks", "mpl"), 2, "there is no block 'mpl'; did you mean 'mlp'?")
    refused(run("block:mlp?hiden=3"), 2, "did you mean 'hidden'?")


def test_listing_and_refusing_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from edpc.cli.main import cli; "
        "from click.testing import CliRunner; r = CliRunner(); "
        "print(r.invoke(cli, ['blocks']).exit_code, r.invoke(cli, ['block:mlp']).stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 ")
    assert "install" in done.stdout
    assert done.stdout.count("\n") == 2
    assert process("blocks").returncode == 0


# --- the modules ------------------------------------------------------------------------------------------------


def flops(module: Any, inputs: Any) -> int:
    """Multiply-accumulates by torch's own count. On the meta device attention runs as its two products, which are counted."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    assert counter.get_total_flops() % 2 == 0
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("name", BLOCKS)
def test_builders_take_what_is_documented_and_allocate_nothing(name: str) -> None:
    pytest.importorskip("torch")
    block = find_block(name)
    builder = getattr(import_module(f"edpc.blocks.{block.module}"), block.builder)
    assert list(inspect.signature(builder).parameters) == [p.name for p in block.parameters]
    module, inputs = build(name, batch=2)
    assert not module.training
    assert all(tensor.is_meta for tensor in (*module.parameters(), *module.buffers(), *inputs))
    assert all(tensor.shape[0] == 2 for tensor in inputs)


@pytest.mark.parametrize(("name", "macs"), EXACT.items())
def test_networks_have_the_exact_counts(name: str, macs: int) -> None:
    pytest.importorskip("torch")
    assert flops(*build(name)) == macs
    if name == "mobilenet-v2":
        assert flops(*build(name, classes=1000)) == macs - 1280


def test_decoding_reads_the_cache_and_grows_it_by_one_token() -> None:
    pytest.importorskip("torch")
    sizes = {"layers": 2, "width": 256, "heads": 8, "kv_heads": 2, "hidden": 512, "vocabulary": 1000}
    module, inputs = build("llama-decoder", phase="decode", past=100, batch=3, **sizes)
    assert [tuple(each.shape) for each in inputs] == [(3, 1), *[(3, 2, 100, 32)] * 4]
    logits, *grown = module(*inputs)
    assert tuple(logits.shape) == (3, 1, 1000)
    assert [tuple(each.shape) for each in grown] == [(3, 2, 101, 32)] * 4
    # per token and layer: q and out 256*256, k and v 256*64, SwiGLU 3*256*512, QK^T and AV 2*101*256; logits 256*1000
    assert flops(module, inputs) == 3 * (2 * (2 * 65_536 + 2 * 16_384 + 393_216 + 51_712) + 256_000)
    module, inputs = build("llama-decoder", tokens=100, batch=3, **sizes)
    assert [tuple(each.shape) for each in module(*inputs)] == [(3, 1, 1000), *[(3, 2, 100, 32)] * 4]


# --- through the compiler ---------------------------------------------------------------------------------------


def kinds(report: Report) -> Counter[str]:
    return Counter(each.operator_type for each in report.operators)


@pytest.mark.parametrize("name", BLOCKS)
def test_macs_are_torchs(name: str) -> None:
    pytest.importorskip("torch")
    source = f"block:{name}" + (f"?{SMALL[name]}" if name in SMALL else "")
    report = edpc.compile(source, target="cpu", batch=2)
    _, parameters = parse_block(source)
    module, inputs = build(name, **{**parameters, "batch": 2})
    assert report.model.macs == flops(module, inputs)
    assert report.model.format == "block"
    assert report.target.batch == 2
    assert report.coverage.operators_modelled == report.coverage.operators_total
    assert report.model.parameters == sum(p.numel() for p in module.parameters()) + sum(
        b.numel() for n, b in module.named_buffers() if b.is_floating_point() and "num_batches" not in n
    )


def test_resnet18_is_68_operators_and_a_view() -> None:
    pytest.importorskip("torch")
    found = kinds(edpc.compile("block:resnet18"))
    views = found.pop("reshape")
    assert views == 1
    assert found == {
        "conv": 20,
        "batch_norm": 20,
        "relu": 17,
        "add": 8,
        "max_pool": 1,
        "global_average_pool": 1,
        "matmul": 1,
    }


@pytest.mark.parametrize("target", ["h100", "kpu", "tpu", "cpu"])
def test_attention_shows_its_operators(target: str) -> None:
    pytest.importorskip("torch")
    report = edpc.compile("block:attention-head", target=target)
    found = kinds(report)
    assert (found["matmul"], found["softmax"], found["mul"]) == (6, 1, 1)  # q, k, v, QK^T, AV, out; softmax; scale
    assert all(each.edp_js > 0.0 for each in report.operators if each.operator_type in ("matmul", "softmax"))


def test_a_batch_given_twice_is_refused() -> None:
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match="contradicts the parameter batch=4"):
        edpc.load("block:mlp?batch=4", batch=2)
    assert edpc.load("block:mlp?batch=4", batch=4).info.batch == 4


# --- batches ----------------------------------------------------------------------------------------------------

BATCHES = (1, 4, 8, 16)
# bf16 on the H100 SXM5: 989.4 TFLOP/s over 3.35 TB/s of HBM. Below it a kernel waits for memory even at peak rates.
RIDGE = 989.4e12 / 3.35e12  # 295 FLOP/B


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "macs", "place", "expected"),
    [
        # The last 3 x 3 convolution has 512 x 512 x 9 weights of 2 B = 4.72 MB, read once per batch, and per image 2 x 7 x 7 x
        # 512 x 4,608 = 231 MFLOP and 512 x 7 x 7 x 2 B = 50 kB written (what it reads is still on chip):
        # 231 b / (4.72 + 0.05 b) = 48, 188, 361 and 670 FLOP/B. It crosses the ridge between 4 and 8 images.
        ("block:resnet50", 512 * 512 * 9 * 49, -1, (48.5, 188.0, 361.0, 670.0)),
        # The first feed-forward product has 768 x 3,072 weights = 4.72 MB, and per sequence of 128 tokens 2 x 128 x 768 x 3,072 =
        # 604 MFLOP and 128 x 3,072 x 2 B = 0.79 MB written: 604 b / (4.72 + 0.79 b) = 110, 308, 440 and 560 FLOP/B. It crosses
        # the ridge between 1 and 4 sequences.
        ("block:bert-base", 128 * 768 * 3072, 0, (110.0, 308.0, 440.0, 560.0)),
    ],
)
def test_larger_batches_move_towards_compute(source: str, macs: int, place: int, expected: tuple[float, ...]) -> None:
    pytest.importorskip("torch")
    reports = [edpc.compile(source, target="h100", precision="bf16", batch=batch) for batch in BATCHES]
    above, achieved = [], []
    for batch, report, intensity in zip(BATCHES, reports, expected, strict=True):
        layer = [each for each in report.operators if each.macs == batch * macs][place]
        found = next(each for each in report.subgraphs if each.id == layer.subgraph_id)
        assert found.arithmetic_intensity == pytest.approx(intensity, rel=0.03)
        fast = {each.id for each in report.subgraphs if each.arithmetic_intensity is None or each.arithmetic_intensity > RIDGE}
        above.append(sum(each.flops for each in report.operators if each.subgraph_id in fast) / report.model.flops)
        achieved.append(report.model.flops / report.latency_s)
        assert (found.bottleneck == "compute") >= (intensity > 1.5 * RIDGE)
    # More and more of the arithmetic is done where memory would not hold it back, and the machine does more of it per second.
    assert above == sorted(above)
    assert above[0] < 0.5 < above[-1]
    assert achieved == sorted(achieved)
    assert achieved[-1] > 4.0 * achieved[0]


def test_a_shape_for_a_block_is_refused_in_terms_of_blocks() -> None:
    for flag, value in (("--shape", "x=4,8"), ("--dim", "n=3"), ("--trip-count", "n=3")):
        refused(run("block:mlp", flag, value), 2, f"{flag} does not apply to block:mlp: its sizes are its parameters")
