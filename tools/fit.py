"""Fits the constants of kernels to the measured rows that are not held out.

    python -m tools.fit [FAMILY...] [--write | --split large|odd]      (needs scipy)

Least squares over logarithms of predicted over measured latency (and board power, where it was measured), in which far-off rows
count in proportion rather than squared; the compiler's choice of tiles follows every trial. Prints each constant, the range that
the data leaves it while the others stay (90 %, layers drawn as a whole), and errors on both parts; `--write` keeps constants,
ranges and model errors in `targets/_fitted.py`, from which machines take them. `--split` leaves out other rows instead, all large
layers or all odd lengths, to see what happens off the lattice of the measurements; nothing is kept of it.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from edpc.machine.table import Flags, Floats, Ints
from edpc.target import Quantity, Target, measured
from targets._fitted import FITTED
from targets.h100 import TARGET as H100
from tools.fit_families import FAMILIES, SPLITS, Family
from tools.validate.kernels import latency_and_energy
from tools.validate.measured import Rows
from tools.validate.sets import ADDED_S, Set

FILE = Path(__file__).parents[1] / "targets" / "_fitted.py"
_TOLERANCE = 0.05  # of a logarithm: beyond it a row counts in proportion
_STEP = 0.004  # of a logarithm: of the numerical derivative
_EVALUATIONS = 40
_FOLDS = 4
LONG_S = 100e-6  # products of this and more have a model error of their own


def exchanged(target: Target, names: Sequence[str], values: Sequence[float]) -> Target:
    """The machine under trial values."""
    for name, value in zip(names, values, strict=True):
        machine, _, key = name.rpartition("/")
        if machine in ("", target.name):
            target = target.with_quantity(key, value, "a trial value")
    return target


@dataclass(frozen=True)
class Seen:
    """Rows of a set under trial values: s and W measured and predicted, and s of what each kernel takes, shape (n,) each."""

    latency_s: Floats
    power_w: Floats
    predicted_s: Floats
    predicted_w: Floats
    kernels_s: list[Floats]


def seen_under(family: Family, measured: Sequence[Set], values: Sequence[float]) -> list[Seen]:
    """What trial values predict for sets."""
    added = ADDED_S | {n.removeprefix("added/"): v for n, v in zip(family.constants, values, strict=True)}
    made = []
    for s in measured:
        machine = exchanged(s.target, family.constants, values)
        found = [latency_and_energy(table, machine) for table in s.tables]
        latency = np.sum([t for t, _ in found], axis=0) + added[s.setup]
        power = np.sum([e for _, e in found], axis=0) / latency
        made.append(Seen(s.rows.latency_s, s.rows.power_w, latency, power, [t for t, _ in found]))
    return made


def residuals(family: Family, measured: Sequence[Set], values: Sequence[float]) -> Floats:
    """Logarithms of predicted over measured latency of all rows, then of board power."""
    found = seen_under(family, measured, values)
    off_s = [np.log(f.predicted_s / f.latency_s) for f in found]
    off_w = [np.log(f.predicted_w / f.power_w) for f in found] if family.power else []
    return np.concatenate(off_s + off_w)


def errors(family: Family, measured: Sequence[Set], values: Sequence[float]) -> dict[str, Floats]:
    """By name of the model error: what kernels came to over their predictions, less what timing adds.

    Where a measurement times several kernels that err independently, each errs by more than their sum.
    """
    found: dict[str, list[Floats]] = {}
    for s, f in zip(measured, seen_under(family, measured, values), strict=True):
        together = np.sum(f.kernels_s, axis=0)
        ratio = np.maximum((f.latency_s - f.predicted_s + together) / together, 0.05)
        ratio = ratio ** (together / np.sqrt(np.sum(np.square(f.kernels_s), axis=0)))
        long = together >= LONG_S
        for name in s.errors:
            found.setdefault(name, []).append(
                ratio[long] if name.endswith("long") else ratio[~long] if len(s.errors) > 1 else ratio
            )
        if family.power and s.errors:
            capped = f.predicted_w >= 0.995 * s.target.constants()["power.cap"]
            for name, own in (("power", ~capped), ("power.capped", capped)):
                found.setdefault(name, []).append((f.power_w / f.predicted_w)[own])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def present(family: Family, measured: Sequence[Set]) -> list[float]:
    """The values that machines and set-ups have now."""
    known = {key: q.value for s in measured for key, q in s.target.quantities().items()}
    own = {f"{s.target.name}/{key}": q.value for s in measured for key, q in s.target.quantities().items()}
    known = {f"added/{name}": value for name, value in ADDED_S.items()} | own | known
    return [known[name] for name in family.constants]


def best(family: Family, measured: Sequence[Set], first: Sequence[float], evaluations: int) -> tuple[list[float], Floats]:
    """Values of least robust squares, and half of each one's 90 % range in logarithms while the others stay.

    The range comes from gradients summed by layer: rows of a layer err together.
    """

    def values(x: Floats) -> list[float]:
        found: list[float] = (np.array(first) * np.exp(x - 1.0)).tolist()
        return found

    def off(x: Floats) -> Floats:
        return residuals(family, measured, values(x))

    bounds = [np.log(family.most.get(n, 4.0 * f) / f) for n, f in zip(family.constants, first, strict=True)]
    high = 1.0 + np.maximum(bounds, 1e-3)
    found = least_squares(
        off,
        np.minimum(np.ones(len(first)), high - 1e-4),
        bounds=(1.0 - np.log(4.0), high),
        loss="soft_l1",
        f_scale=_TOLERANCE,
        diff_step=np.array(_STEP),
        max_nfev=evaluations,
    )
    layers = np.concatenate([s.rows.layer for s in measured] * (2 if family.power else 1))
    _, layer = np.unique(layers, return_inverse=True)
    jacobian = np.asarray(found.jac)
    gradients = np.zeros((layer.max() + 1, len(first)))
    np.add.at(gradients, layer, jacobian * found.fun[:, None])
    curvature = (jacobian**2).sum(axis=0)
    half = 1.645 * np.sqrt((gradients**2).sum(axis=0)) / np.maximum(curvature, 1e-9)
    half = np.where(curvature > 1e-9, half, 1.0)  # what no row tells may be a factor of e off
    return values(found.x), np.minimum(half, 1.0)


@dataclass(frozen=True)
class Fit:
    """What a family came to.

    Attributes:
        first, values: before and after. ranges: lowest and highest of each.
        seen, apart: residuals of the part it was fitted to and of the other.
        errors: model errors by name, of rows of the former that were left out of one of four fits.
    """

    first: list[float]
    values: list[float]
    ranges: list[tuple[float, float]]
    seen: Floats
    apart: Floats
    errors: dict[str, Floats]


def fit(family: Family, left_out: Callable[[Rows], Flags] = SPLITS["layers"], folds: int = _FOLDS) -> Fit:
    """The constants of least robust squares on the rows that are not left out; model errors where there are folds."""
    whole = family.sets()
    seen, apart = (_parts(whole, [left_out(s.rows) == held for s in whole]) for held in (False, True))
    first = present(family, whole)
    values, half = best(family, seen, first, _EVALUATIONS)
    parts: dict[str, list[Floats]] = {}
    for fold in range(folds):
        those, others = (_parts(seen, [(_fold(s.rows) == fold) == there for s in seen]) for there in (True, False))
        again, _ = best(family, others, values, _EVALUATIONS // 3)
        for name, ratio in errors(family, those, again).items():
            parts.setdefault(name, []).append(ratio)
    return Fit(
        first,
        values,
        [(v * float(np.exp(-h)), v * float(np.exp(h))) for v, h in zip(values, half, strict=True)],
        residuals(family, seen, values),
        residuals(family, apart, values),
        {name: np.concatenate(ratios) for name, ratios in parts.items()},
    )


def _parts(measured: Sequence[Set], which: Sequence[Flags]) -> list[Set]:
    """The rows of sets where flags hold; sets without any are left away."""
    return [s.part(flags) for s, flags in zip(measured, which, strict=True) if flags.any()]


def _fold(rows: Rows) -> Ints:
    """Which of the four parts a row's layer is in."""
    return np.array([hashlib.sha256(layer.encode()).digest()[1] % _FOLDS for layer in rows.layer], np.int64)


def figures(off: Floats) -> str:
    """Mean, median and 90 % quantile of the error, in percent."""
    size = 100.0 * np.abs(np.exp(off) - 1.0)
    return f"mean {size.mean():.2f} %, median {np.median(size):.2f} %, 9 of 10 below {np.quantile(size, 0.9):.1f} %"


def quantities(family: Family, found: Fit) -> dict[str, dict[str, Quantity]]:
    """What a fit says of every machine: constants with their ranges, and model errors."""
    seen = [s.part(~s.rows.held_out) for s in family.sets()]
    rows, layers = sum(len(s.rows) for s in seen), len({layer for s in seen for layer in s.rows.layer})
    what = f"{rows:,} rows of {layers} layers, of {family.data}; layers of odd hash held out"
    units = {key: q.unit for s in seen for key, q in s.target.quantities().items()}
    own = seen[0].target.name if len({s.target.name for s in seen}) == 1 else H100.name
    made: dict[str, dict[str, Quantity]] = {}
    for name, value, (low, high) in zip(family.constants, found.values, found.ranges, strict=True):
        machine, _, key = name.rpartition("/")
        source = f"fit of {len(family.constants)} constants to {what}"
        made.setdefault(machine or own, {})[key] = measured(_short(value), units.get(key, "s"), _short(low), _short(high), source)
    for name, ratio in found.errors.items():
        low, high = (_short(x) for x in np.quantile(ratio, [0.05, 0.95]))
        source = f"5 % and 95 % quantiles of {len(ratio):,} kernels, measured over predicted, in 4-fold validation on {what}"
        made.setdefault(own, {})[f"{name}.error"] = measured(1.0, "1", min(low, 1.0), max(high, 1.0), source)
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
    known = {name.rpartition("/")[2] for family in FAMILIES.values() for name in family.constants}
    kept = {
        machine: {
            key: quantity
            for key, quantity in {**FITTED.get(machine, {}), **new.get(machine, {})}.items()
            if key in known or key.endswith(".error")
        }
        for machine in sorted({*FITTED, *new})
    }
    sources = list(dict.fromkeys(q.source for machine in kept.values() for q in machine.values()))
    lines = [f"_{number} = {source!r}" for number, source in enumerate(sources)]
    lines = [line + "  # noqa: E501" if len(line) > 130 else line for line in lines]
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
    parser = argparse.ArgumentParser(prog="python -m tools.fit")
    parser.add_argument("family", nargs="*", choices=[*FAMILIES, []], help="what to fit; all unless given")
    parser.add_argument("--write", action="store_true", help="keep the constants in targets/_fitted.py")
    parser.add_argument("--split", choices=SPLITS, default="layers", help="which rows to leave out")
    given = parser.parse_args(arguments)
    if given.write and given.split != "layers":
        parser.error("only constants fitted to the half of all layers are kept")
    families = given.family or list(FAMILIES)
    if len(families) > 1:  # each sees what the earlier ones kept
        options = [*(["--write"] if given.write else []), "--split", given.split]
        return max(subprocess.run([sys.executable, "-m", "tools.fit", f, *options], check=False).returncode for f in families)
    (name,) = families
    family, began = FAMILIES[name], time.monotonic()
    found = fit(family, SPLITS[given.split], _FOLDS if given.split == "layers" else 0)
    print(f"{name}: {len(found.seen):,} rows fitted in {time.monotonic() - began:.0f} s")
    for key, was, value, (low, high) in zip(family.constants, found.first, found.values, found.ranges, strict=True):
        print(f"  {key:40} {value:12.5g}  {low:10.4g} .. {high:10.4g}   was {was:.5g}")
    for what, off in (("fit", found.seen), ("left out", found.apart)):
        print(f"  {what:9} {figures(off)}", flush=True)
    for error, ratio in found.errors.items():
        print(f"  {error}.error {np.quantile(ratio, [0.05, 0.5, 0.95]).round(3).tolist()}")
    if given.write:
        write(quantities(family, found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
