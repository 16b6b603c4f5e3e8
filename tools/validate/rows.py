"""What is printed: one row for each figure that the project claims, with its goal and the best that others published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edpc.target import Target
from targets.h100 import TARGET as H100
from targets.h200 import TARGET as H200
from tests.machines.a100_pcie_80gb import TARGET as A100_PCIE
from tests.machines.a100_sxm import TARGET as A100
from tests.machines.l4 import TARGET as L4
from tools.validate import cases, sets
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
    """

    name: str
    what: str
    timing: str
    trivial: str
    published: str
    goal: tuple[float, float, float]
    case: Callable[[], Case]

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


_EXCEPT = tuple(op for op in sets.VECTOR_OPS if op not in ("softmax", "layernorm"))
NEUSIGHT = "NeuSight {} (Lee et al., ASPLOS 2025)"
COMPASS = "LLMCompass {} (Zhang et al., ISCA 2024)"
ROWS: tuple[Row, ...] = (
    Row(
        "h100-gemm-bf16",
        "H100 bf16 GEMM, latency",
        sets.GRAPH,
        ROOFLINE,
        "aiconfigurator 4.9 median (interpolates measured neighbours); LLMCompass 10.9; PM2Lat < 10",
        (5.5, 4.0, 12.0),
        lambda: cases.latency(sets.gemm16(H100)),
    ),
    Row(
        "h100-gemm-fp8",
        "H100 fp8 GEMM with the quantiser of its activations, latency",
        sets.GRAPH,
        ROOFLINE,
        "",
        mean(7.0),
        lambda: cases.latency(sets.gemm8(H100)),
    ),
    Row(
        "h100-linear-fp32",
        "H100 fp32 linear, latency",
        sets.NEUSIGHT,
        ROOFLINE,
        NEUSIGHT.format("9.3 to 11.0"),
        mean(5.0),
        lambda: cases.latency(sets.ffma(H100, batched=False)),
    ),
    Row(
        "h100-batched-fp32",
        "H100 fp32 batched product, latency",
        sets.NEUSIGHT,
        ROOFLINE,
        NEUSIGHT.format("9.3 to 11.0"),
        mean(5.0),
        lambda: cases.latency(sets.ffma(H100, batched=True)),
    ),
    Row(
        "h100-attention-prefill",
        "H100 causal attention, 16-bit and fp8 keys, latency",
        sets.TRTLLM,
        ROOFLINE,
        "PM2Lat 3 to 8",
        mean(9.0),
        _attention("attention_prefill_causal", (2.0, 1.0)),
    ),
    Row(
        "h100-attention-encoder",
        "H100 encoder attention, latency",
        sets.TRTLLM,
        ROOFLINE,
        "",
        mean(6.5),
        _attention("attention_encoder_bidir", (2.0,)),
    ),
    Row(
        "h100-attention-decode",
        "H100 decode attention, 16-bit and fp8 keys, latency",
        sets.TRTLLM,
        ROOFLINE,
        "",
        mean(11.0),
        _attention("attention_decode", (2.0, 1.0)),
    ),
    Row(
        "vector",
        "A100 and L4 vector kernels, fp32, latency",
        sets.NEUSIGHT,
        ROOFLINE,
        NEUSIGHT.format("16 to 23"),
        mean(3.0),
        _vector(sets.VECTOR_OPS),
    ),
    Row("vector-elementwise", "the same, elementwise", sets.NEUSIGHT, ROOFLINE, "", mean(3.0), _vector(_EXCEPT)),
    Row("vector-softmax", "the same, softmax", sets.NEUSIGHT, ROOFLINE, "", mean(NONE), _vector(("softmax",))),
    Row("vector-layernorm", "the same, layer normalisation", sets.NEUSIGHT, ROOFLINE, "", mean(NONE), _vector(("layernorm",))),
    Row(
        "a100-gemm-fp16",
        "A100 fp16 GEMM, the machine's data exchanged, latency",
        sets.COMPASS_TIMING,
        ROOFLINE,
        COMPASS.format("10.9"),
        mean(12.0),
        lambda: cases.latency(sets.compass(A100, "matmul")),
    ),
    *(
        Row(
            f"a100-{op}-fp16",
            f"A100 fp16 {name}, the machine's data exchanged, latency",
            sets.COMPASS_TIMING,
            ROOFLINE,
            "",
            mean(NONE),
            lambda op=op: cases.latency(sets.compass(A100, op)),  # type: ignore[misc]
        )
        for op, name in (("softmax", "softmax"), ("layernorm", "layer normalisation"), ("gelu", "GELU"))
    ),
    Row(
        "h200-gemm-latency",
        "H200 bf16 GEMM of 100 us and more, latency",
        sets.VLLM_POWER,
        ROOFLINE,
        "",
        mean(NONE),
        _power(cases.latency),
    ),
    Row(
        "h200-gemm-power",
        "the same, board power, latency predicted too",
        sets.VLLM_POWER,
        USUAL,
        "Wattchmen 12, EnergAIzer 7 (all kernels)",
        mean(2.5),
        _power(cases.power),
    ),
    Row(
        "h200-gemm-power-low",
        "the same, rows below 670 W",
        sets.VLLM_POWER,
        USUAL,
        "",
        mean(12.0),
        _power(cases.power, below=670.0),
    ),
    Row(
        "h200-gemm-edp",
        "the same, energy-delay product",
        sets.VLLM_POWER,
        USUAL + ", and the roofline",
        "",
        mean(10.0),
        _power(cases.edp),
    ),
    Row(
        "h200-gemm-power-zeros",
        "H200 GEMM of K = 65536 (weights of zeros), board power",
        sets.VLLM_POWER,
        USUAL,
        "",
        mean(NONE),
        _power(cases.power, zeros=True),
    ),
    Row(
        "h200-gemm-edp-zeros",
        "the same, energy-delay product",
        sets.VLLM_POWER,
        USUAL + ", and the roofline",
        "",
        mean(NONE),
        _power(cases.edp, zeros=True),
    ),
)


def targets() -> tuple[Target, ...]:
    """The machines that rows are about."""
    return H100, H200, A100, A100_PCIE, L4
