"""What is printed: one row for each figure that the project claims, with its goal and the best that others published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from targets.h100 import TARGET as H100
from targets.h200 import TARGET as H200
from tests.machines.a100_pcie_80gb import TARGET as A100_PCIE
from tests.machines.a100_sxm import TARGET as A100
from tests.machines.l4 import TARGET as L4
from tools.validate import cases, networks, sets
from tools.validate.score import Case, Errors

ROOFLINE = "roofline at data-sheet peaks"
USUAL = "the median power of the fit part, a constant"


@dataclass(frozen=True)
class Row:
    """A claim.

    Attributes:
        name: for `--only`. what: measured and predicted; timing: how it was timed. trivial: what the trivial baseline is.
        published: the best published figure, with its source; empty where there is none.
        goal: largest mean error in percent, and median and 90 % quantile where they are claimed too; NaN: none is set.
        case: the measurements and predictions.
        covered: whether intervals can be judged by the row: it has model errors of its own, and rows enough.
    """

    name: str
    what: str
    timing: str
    trivial: str
    published: str
    goal: tuple[float, float, float]
    case: Callable[[], Case]
    covered: bool = True

    def met(self, found: Errors) -> bool:
        """Whether errors are within the goal."""
        return all(not value > most for value, most in zip((found.mean, found.median, found.p90), self.goal, strict=True))


NONE = float("nan")
ZEROS = H200.with_quantity("power.data_activity", 0.0, "weights are zeros")
COMPASS_OPS = ("matmul", "softmax", "layernorm", "gelu")
MACHINES = {"NVIDIA A100 80GB PCIe": A100_PCIE, "NVIDIA L4": L4}


def mean(value: float) -> tuple[float, float, float]:
    """A goal on the mean error only."""
    return value, NONE, NONE


def _vector(ops: tuple[str, ...]) -> Callable[[], Case]:
    """Kernels on both machines; the L4's file has the one operator that the A100's lacks."""
    pairs = [(op, name) for op in ops for name in MACHINES if not (op == "gelu" and "A100" in name)]
    return lambda: cases.latency(*(sets.vector(MACHINES[name], name, op) for op, name in pairs))


def _attention(op: str, widths: tuple[float, ...]) -> Callable[[], Case]:
    return lambda: cases.latency(*(sets.attention(H100, op, key_bytes=width) for width in widths))


def _power(figure: Callable[..., Case], zeros: bool = False, below: float | None = None) -> Callable[[], Case]:
    def case() -> Case:
        measured = sets.gemm_power(ZEROS if zeros else H200, zeros=zeros)
        found = figure(measured)
        return found if below is None else found.where(measured.rows.power_w < below)

    return case


OPS = sets.VECTOR_OPS
_EXCEPT = tuple(op for op in OPS if op not in ("softmax", "layernorm"))
GEMM = "aiconfigurator 4.9 median (interpolates measured neighbours), LLMCompass 10.9, PM2Lat < 10"
FP32 = "NeuSight 9.3 to 11.0 (Lee et al., ASPLOS 2025)"
VECTOR = "NeuSight 16 to 23"
COMPASS = "LLMCompass 10.9 (Zhang et al., ISCA 2024)"
WATTS = "EnergAIzer 7, Wattchmen 12"
A100_MORE = (("softmax", "softmax"), ("layernorm", "layer normalisation"), ("gelu", "GELU"))
ALIKE = "A100 fp16 {}, the same code with its data, latency"
H200_ROWS: tuple[tuple[str, str, str, str, tuple[float, float, float], Callable[[], Case], bool], ...] = (
    ("latency", "H200 bf16 GEMM of 100 us and more, latency", ROOFLINE, "", mean(NONE), _power(cases.latency), True),
    ("power", "the same, board power, latency predicted too", USUAL, WATTS, mean(2.5), _power(cases.power), True),
    ("power-low", "the same, rows below 670 W", USUAL, "", mean(12.0), _power(cases.power, below=670.0), False),
    ("edp", "the same, energy-delay product", USUAL + ", and the roofline", "", mean(10.0), _power(cases.edp), True),
    (
        "power-zeros",
        "H200 GEMM of K = 65536 (zeros), board power",
        USUAL,
        "",
        mean(NONE),
        _power(cases.power, True),
        False,
    ),
    ("edp-zeros", "the same, energy-delay product", USUAL + ", and the roofline", "", mean(NONE), _power(cases.edp, True), False),
)


def _gemm16() -> Case:
    return cases.latency(sets.gemm16(H100))


def _network(machine: str, launch: str) -> Row:
    """BERT-large and GPT2-large end to end on one machine."""
    goal = (3.5 if launch == "eager" else 4.0) if machine == "h100" else 15.0
    best = {"eager": "6.1", "graph": "16.7"}[launch] if machine == "h100" else ""
    return Row(
        f"{machine}-networks-{'eager' if launch == 'eager' else 'compiled'}",
        f"{machine.upper()} BERT-large and GPT2-large, fp32, end to end",
        networks.EAGER if launch == "eager" else networks.COMPILED,
        ROOFLINE + ", every operator apart",
        f"NeuSight {best} over more models (Lee et al., ASPLOS 2025)" if best else "",
        mean(goal),
        lambda: networks.networks(machine, launch),
        False,
    )


def _gemm8() -> Case:
    return cases.latency(sets.gemm8(H100))


def _ffma(batched: bool) -> Callable[[], Case]:
    return lambda: cases.latency(sets.ffma(H100, batched=batched))


def _compass(op: str) -> Callable[[], Case]:
    return lambda: cases.latency(sets.compass(A100, op))


PREFILL, ENCODER = _attention("attention_prefill_causal", (2.0, 1.0)), _attention("attention_encoder_bidir", (2.0,))
DECODE = _attention("attention_decode", (2.0, 1.0))
FP8 = "H100 fp8 GEMM with the quantiser of its activations, latency"
ONE, TWO = "H100 causal attention, 16-bit and fp8 keys, latency", "H100 decode attention, 16-bit and fp8 keys, latency"
ROWS: tuple[Row, ...] = (
    Row("h100-gemm-bf16", "H100 bf16 GEMM, latency", sets.GRAPH, ROOFLINE, GEMM, (5.5, 4.0, 12.0), _gemm16),
    Row("h100-gemm-fp8", FP8, sets.GRAPH, ROOFLINE, "", mean(7.0), _gemm8),
    Row("h100-linear-fp32", "H100 fp32 linear, latency", sets.NEUSIGHT, ROOFLINE, FP32, mean(5.0), _ffma(False)),
    Row("h100-batched-fp32", "H100 fp32 batched product, latency", sets.NEUSIGHT, ROOFLINE, FP32, mean(5.0), _ffma(True)),
    Row("h100-attention-prefill", ONE, sets.TRTLLM, ROOFLINE, "PM2Lat 3 to 8", mean(9.0), PREFILL),
    Row("h100-attention-encoder", "H100 encoder attention, latency", sets.TRTLLM, ROOFLINE, "", mean(6.5), ENCODER),
    Row("h100-attention-decode", TWO, sets.TRTLLM, ROOFLINE, "", mean(11.0), DECODE),
    Row(
        "vector",
        "A100 and L4 vector kernels, fp32, latency",
        sets.NEUSIGHT,
        ROOFLINE,
        VECTOR,
        mean(3.0),
        _vector(sets.VECTOR_OPS),
    ),
    Row("vector-elementwise", "the same, elementwise", sets.NEUSIGHT, ROOFLINE, "", mean(NONE), _vector(_EXCEPT)),
    Row("vector-softmax", "the same, softmax", sets.NEUSIGHT, ROOFLINE, "", mean(NONE), _vector(("softmax",))),
    Row("vector-layernorm", "the same, layer normalisation", sets.NEUSIGHT, ROOFLINE, "", mean(NONE), _vector(("layernorm",))),
    Row("a100-gemm-fp16", ALIKE.format("GEMM"), sets.COMPASS_TIMING, ROOFLINE, COMPASS, mean(12.0), _compass("matmul"), False),
    *(
        Row(f"a100-{op}-fp16", ALIKE.format(name), sets.COMPASS_TIMING, ROOFLINE, "", mean(NONE), _compass(op), False)
        for op, name in A100_MORE
    ),
    *(
        Row(f"h200-gemm-{name}", what, sets.VLLM_POWER, trivial, published, goal, case, covered)
        for name, what, trivial, published, goal, case, covered in H200_ROWS
    ),
    *(_network(machine, "eager") for machine in networks.MACHINES),
    Row(
        "other-networks-eager",
        "the same, the six other NVIDIA GPUs together",
        networks.EAGER,
        ROOFLINE + ", every operator apart",
        "",
        mean(15.0),
        lambda: networks.together([name for name in networks.MACHINES if name != "h100"], "eager"),
        False,
    ),
    *(_network(machine, "graph") for machine in ("h100", "a100-40gb", "l4")),
)
