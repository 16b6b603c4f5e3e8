"""Fits the constants of kernels to the measured rows that are not held out.

    python -m tools.fit [FAMILY...] [--write]      (needs scipy)

Least squares over logarithms of predicted over measured latency (and board power, where it was measured), in which far-off rows
count in proportion rather than squared; the compiler's choice of tiles follows every trial. Prints each constant, the range that
the data leaves it while the others stay (90 %, layers drawn as a whole), and errors on both parts; `--write` keeps constants,
ranges and model errors in `targets/_fitted.py`, from which machines take them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from edpc.machine.table import Floats
from edpc.target import Quantity, Target, measured
from targets._fitted import FITTED
from targets.h100 import TARGET as H100
from targets.h200 import TARGET as H200
from tools.validate import sets
from tools.validate.kernels import latency_and_energy
from tools.validate.rows import A100, COMPASS_OPS, L4, MACHINES, ZEROS
from tools.validate.sets import ADDED_S, Set

FILE = Path(__file__).parents[1] / "targets" / "_fitted.py"
_TOLERANCE = 0.05  # of a logarithm: beyond it a row counts in proportion
_STEP = 0.004  # of a logarithm: of the numerical derivative


@dataclass(frozen=True)
class Family:
    """Constants that are fitted together.

    Attributes:
        data: what that is, for the constants' sources. sets: the measured kernels.
        constants: `NAME` of all machines, `MACHINE/NAME` of one, `added/SETUP` of what timing adds; with a first guess where the
            machine has none.
        error: the model error that the residuals give, if any.
        most: upper bounds of some, where physics sets one.
        power: whether board power is fitted beside latency.
    """

    data: str
    sets: Callable[[], Sequence[Set]]
    constants: tuple[str, ...]
    error: str
    most: Mapping[str, float] = field(default_factory=dict)
    power: bool = False


def _named(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names.split())


def _attention(op: str, *widths: float) -> Callable[[], list[Set]]:
    return lambda: [sets.attention(H100, op, key_bytes=width) for width in widths]


def _vectors() -> list[Set]:
    return [
        sets.vector(machine, hardware, op)
        for hardware, machine in MACHINES.items()
        for op in sets.VECTOR_OPS
        if not (op == "gelu" and machine is not L4)
    ]


SHARES = {f"{form}.{name}": 0.99 for form in ("gemm", "ffma") for name in ("read_efficiency", "write_efficiency")}
FAMILIES: dict[str, Family] = {
    "gemm": Family(
        "bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs)",
        lambda: [sets.gemm16(H100)],
        (
            *_named("gemm", "floor efficiency sm_bandwidth step prologue epilogue_bandwidth read_efficiency sm_dram_bandwidth"),
            *_named("gemm", "write_efficiency ramp overlap split"),
            "l2.bandwidth",
        ),
        "gemm.error",
        SHARES | {"gemm.efficiency": 1.0, "gemm.overlap": 8.0},
    ),
    "gemm8": Family(
        "fp8 GEMMs with their quantiser on H100 SXM (aiconfigurator, vLLM 0.24 CUTLASS, CUDA graphs)",
        lambda: [sets.gemm8(H100)],
        (
            *_named("gemm8", "floor efficiency step prologue efficiency_dram ramp overlap"),
            *_named("vector", "quantise quantise_row quantise_overlap"),
            "matrix.fp8.energy",
        ),
        "gemm8.error",
        {"gemm8.efficiency": 1.0, "gemm8.efficiency_dram": 0.99, "gemm8.overlap": 8.0, "vector.quantise_overlap": 8.0},
    ),
    "ffma": Family(
        "fp32 linear and batched products on H100 (NeuSight, no TF32, PyTorch)",
        lambda: [sets.ffma(H100, batched=False), sets.ffma(H100, batched=True)],
        (*_named("ffma", "efficiency operand epilogue_bandwidth"), "added/linear", "added/batched"),
        "ffma.error",
        {},
    ),
    "prefill": Family(
        "causal attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20)",
        _attention("attention_prefill_causal", 2.0, 1.0),
        _named("attention.prefill", "floor rate softmax cta tail relayout_bandwidth wide_saving window rate8 softmax8 widen8"),
        "attention.prefill.error",
    ),
    "encoder": Family(
        "encoder attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20)",
        _attention("attention_encoder_bidir", 2.0),
        _named("attention.encoder", "floor rate softmax cta tail relayout_bandwidth padded_head"),
        "attention.encoder.error",
    ),
    "decode": Family(
        "decode attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20)",
        _attention("attention_decode", 2.0, 1.0),
        (
            *_named("attention.mmha", "floor cta key loop second rate"),
            *_named("attention.xqa", "floor floor8 cta cta8 key rate"),
            *_named("attention.xqa8", "floor cta wide"),
            *_named("attention.decode", "merge read_efficiency overlap"),
        ),
        "attention.decode.error",
        {"attention.decode.read_efficiency": 0.99, "attention.decode.overlap": 8.0},
    ),
    "vector": Family(
        "fp32 elementwise, softmax and layer normalisation kernels on A100 PCIe 80 GB and L4 (NeuSight, PyTorch eager)",
        _vectors,
        (
            *_named("vector", "norm_start norm_step softmax_start softmax_step softmax_tail row_overlap resident"),
            *_named("vector", "softmax softmax_long norm"),
            *(f"{machine.name}/vector.stream" for machine in MACHINES.values()),
            *(f"added/neusight-{machine.name}{what}" for machine in MACHINES.values() for what in ("", "-norm")),
        ),
        "vector.error",
        {"vector.row_overlap": 8.0},
    ),
    "compass": Family(
        "fp16 matmuls, softmax, layer normalisation and GELU on A100 SXM (LLMCompass, PyTorch)",
        lambda: [sets.compass(A100, op) for op in COMPASS_OPS],
        tuple(f"added/llmcompass-{op}" for op in COMPASS_OPS),
        "",
    ),
    "h200": Family(
        "bf16 GEMMs on H200 SXM with board power where 100 us and more (aiconfigurator, vLLM 0.22)",
        # Rows of zeros are few and alone tell data from clocks: they count three times.
        lambda: [sets.gemm_power(H200, zeros=False), *[sets.gemm_power(ZEROS, zeros=True)] * 3],
        (
            *_named("gemm", "read_efficiency efficiency"),
            *("matrix.bf16.energy", "hbm.read_energy", "power.active", "power.zero_arithmetic"),
        ),
        "power.error",
        SHARES | {"gemm.efficiency": 1.0},
        power=True,
    ),
    "h200-short": Family(
        "bf16 GEMMs on H200 SXM (aiconfigurator, vLLM 0.22)",
        lambda: [sets.gemm_power(H200, zeros=False, least_s=0.0)],
        _named("gemm", "sm_dram_bandwidth floor"),
        "gemm.error",
    ),
}


def exchanged(target: Target, names: Sequence[str], values: Sequence[float]) -> Target:
    """The machine under trial values."""
    for name, value in zip(names, values, strict=True):
        machine, _, key = name.rpartition("/")
        if machine in ("", target.name):
            target = target.with_quantity(key, value, "a trial value")
    return target


def residuals(family: Family, measured: Sequence[Set], values: Sequence[float]) -> Floats:
    """Logarithms of predicted over measured latency of all rows, then of board power."""
    added = ADDED_S | {n.removeprefix("added/"): v for n, v in zip(family.constants, values, strict=True)}
    off_s, off_w = [], []
    for s in measured:
        machine = exchanged(s.target, family.constants, values)
        found = [latency_and_energy(table, machine) for table in s.tables]
        latency = np.sum([t for t, _ in found], axis=0) + added[s.setup]
        off_s.append(np.log(latency / s.rows.latency_s))
        if family.power:
            off_w.append(np.log(np.sum([e for _, e in found], axis=0) / latency / s.rows.power_w))
    return np.concatenate(off_s + off_w)


def present(family: Family, measured: Sequence[Set]) -> Floats:
    """The values that machines and set-ups have now."""
    known = {key: q.value for s in measured for key, q in s.target.quantities().items()}
    own = {f"{s.target.name}/{key}": q.value for s in measured for key, q in s.target.quantities().items()}
    known = {f"added/{name}": value for name, value in ADDED_S.items()} | own | known
    return np.array([known[name] for name in family.constants])


@dataclass(frozen=True)
class Fit:
    """What a family came to: values, their ranges, and the residuals of the part it was fitted to and of the other."""

    first: Floats
    values: Floats
    ranges: Floats
    seen: Floats
    apart: Floats


def fit(family: Family, evaluations: int = 40) -> Fit:
    """The constants of least robust squares on the rows that are not held out."""
    whole = family.sets()
    seen, apart = ([s.part(held_out=held) for s in whole] for held in (False, True))
    first = present(family, whole)

    def values(x: Floats) -> list[float]:
        found: list[float] = (first * np.exp(x - 1.0)).tolist()
        return found

    bounds = [np.log(family.most.get(n, 4.0 * f) / f) for n, f in zip(family.constants, first, strict=True)]
    high = 1.0 + np.maximum(bounds, 1e-3)
    found = least_squares(
        lambda x: residuals(family, seen, values(x)),
        np.minimum(np.ones(len(first)), high - 1e-4),
        bounds=(1.0 - np.log(4.0), high),
        loss="soft_l1",
        f_scale=_TOLERANCE,
        diff_step=_STEP,
        max_nfev=evaluations,
    )
    best = values(found.x)
    layers = np.concatenate([s.rows.layer for s in seen])
    spread = _alone(found.jac, found.fun, np.tile(layers, 2 if family.power else 1))
    ranges = np.array(best)[:, None] * np.exp(np.stack([-spread, spread], axis=1))
    return Fit(first, np.array(best), ranges, residuals(family, seen, best), residuals(family, apart, best))


def _alone(jacobian: Floats, off: Floats, layers: np.ndarray) -> Floats:
    """Half of each constant's 90 % range in logarithms while the others stay, from gradients summed by layer."""
    _, layer = np.unique(layers, return_inverse=True)
    gradients = np.zeros((layer.max() + 1, jacobian.shape[1]))
    np.add.at(gradients, layer, jacobian * off[:, None])
    curvature = (jacobian**2).sum(axis=0)
    half: Floats = 1.645 * np.sqrt((gradients**2).sum(axis=0)) / np.maximum(curvature, 1e-12)
    return np.minimum(half, 1.0)


def figures(off: Floats) -> str:
    """Mean, median and 90 % quantile of the error, in percent."""
    size = 100.0 * np.abs(np.exp(off) - 1.0)
    return f"mean {size.mean():.2f} %, median {np.median(size):.2f} %, 9 of 10 below {np.quantile(size, 0.9):.1f} %"


def quantities(family: Family, found: Fit) -> dict[str, dict[str, Quantity]]:
    """What a fit says of every machine: constants with their ranges, and the model errors of what it was fitted to."""
    seen = [s.part(held_out=False) for s in family.sets()]
    rows, layers = sum(len(s.rows) for s in seen), len({layer for s in seen for layer in s.rows.layer})
    what = f"{rows:,} rows of {layers} layers, of {family.data}; layers of odd hash held out"
    units = {key: q.unit for s in seen for key, q in s.target.quantities().items()}
    own = seen[0].target.name if len({s.target.name for s in seen}) == 1 else H100.name
    made: dict[str, dict[str, Quantity]] = {}
    for name, value, (low, high) in zip(family.constants, found.values.tolist(), found.ranges.tolist(), strict=True):
        machine, _, key = name.rpartition("/")
        source = f"fit of {len(family.constants)} constants to {what}"
        made.setdefault(machine or own, {})[key] = measured(_short(value), units.get(key, "s"), _short(low), _short(high), source)
    rows_of = {family.error: found.seen[rows if family.power else 0 :]} if family.error else {}
    for key, off in rows_of.items():
        low, high = np.quantile(np.exp(-off), [0.05, 0.95])
        source = f"5 % and 95 % quantiles of measured over predicted, {what}"
        made.setdefault(own, {})[key] = measured(1.0, "1", _short(min(low, 1.0)), _short(max(high, 1.0)), source)
    return made


def _short(value: float) -> float:
    return float(f"{value:.4g}")


HEAD = '''"""Constants of machines as `python -m tools.fit --write` fitted and wrote them. Do not edit.

By machine, then by name; `added` is what ways of timing add to a kernel.
"""

from __future__ import annotations

from edpc.target import Quantity, measured

'''


def write(new: Mapping[str, Mapping[str, Quantity]]) -> None:
    """Keeps fitted constants beside those of earlier fits."""
    kept = {machine: {**FITTED.get(machine, {}), **new.get(machine, {})} for machine in sorted({*FITTED, *new})}
    sources = list(dict.fromkeys(q.source for machine in kept.values() for q in machine.values()))
    lines = [f"_{number} = {source!r}  # noqa: E501" for number, source in enumerate(sources)]
    lines.append("FITTED: dict[str, dict[str, Quantity]] = {")
    for machine, constants in kept.items():
        lines.append(f"    {machine!r}: {{")
        for key, q in sorted(constants.items()):
            low, high = q.range or (q.value, q.value)
            lines.append(f"        {key!r}: measured({q.value!r}, {q.unit!r}, {low!r}, {high!r}, _{sources.index(q.source)}),")
        lines.append("    },")
    lines.append("}")
    FILE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    FITTED.update(kept)


def main(arguments: Sequence[str]) -> int:
    """Fits and prints the named families, or all."""
    for name in [a for a in arguments if a != "--write"] or FAMILIES:
        family, began = FAMILIES[name], time.monotonic()
        found = fit(family)
        print(f"{name}: {len(found.seen):,} rows fitted in {time.monotonic() - began:.0f} s")
        for key, was, value, (low, high) in zip(family.constants, found.first, found.values, found.ranges, strict=True):
            print(f"  {key:40} {value:12.5g}  {low:10.4g} .. {high:10.4g}   was {was:.5g}")
        for what, off in (("fit", found.seen), ("held out", found.apart)):
            print(f"  {what:9} {figures(off)}", flush=True)
        if "--write" in arguments:
            write(quantities(family, found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
