"""What changed between two reports, operator by operator, so that the parts sum to the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

import msgspec

from edpc.errors import UsageError
from edpc.report.records import OperatorReport, Record, Report
from edpc.version import __version__

Status = Literal["changed", "added", "removed", "unchanged"]

# Figures that differ by less are the same: two machines may round the last bits of a sum differently.
_SAME = 1e-12

METRICS: dict[str, Callable[[Report], float]] = {
    "edp": lambda report: report.edp_js,
    "energy": lambda report: report.energy_j,
    "latency": lambda report: report.latency_s,
    "ed2p": lambda report: report.edp_js * report.latency_s,
    "power": lambda report: report.totals.average_power_w,
    "dram-bytes": lambda report: report.totals.dram_bytes,
    "dram-accesses": lambda report: float(report.totals.dram_accesses),
    "launches": lambda report: float(report.totals.launches),
    "flops": lambda report: float(report.model.flops),
    "macs": lambda report: float(report.model.macs),
    "parameters": lambda report: float(report.model.parameters),
}


class Side(Record, frozen=True):
    """A report that is compared, by what it is of."""

    model: str
    target: str
    precision: str
    batch: int
    energy_j: float
    latency_s: float
    edp_js: float


class MetricChange(Record, frozen=True):
    """A figure of both reports; `relative` is b / a - 1, null where a is zero."""

    metric: str
    a: float
    b: float
    relative: float | None


class OperatorChange(Record, frozen=True, kw_only=True):
    """What became of one operator.

    energy_j and latency_s are b minus a. edp_js is what they contribute to the change of the EDP, energy_j * Tm +
    latency_s * Em with Tm and Em the means of both totals, which sums to it exactly. A regrouped operator runs together with
    other operators than before. `a` and `b` are null where the operator is absent.
    """

    name: str
    operator_type: str
    status: Status
    is_regrouped: bool
    energy_j: float
    latency_s: float
    edp_js: float
    a: OperatorReport | None
    b: OperatorReport | None


class Difference(Record, frozen=True, kw_only=True):
    """Report `b` against report `a`.

    Attributes:
        metrics: totals that may be gated, all of them.
        first: number in `operators` of the first one, in the order of execution, that is not the same; null where all are.
        operators: every operator of either report, in the order of execution; edp_js sums to the change of the EDP.
    """

    schema: Literal["edpc/diff-v1"]
    edpc_version: str
    a: Side
    b: Side
    metrics: tuple[MetricChange, ...]
    first: int | None
    operators: tuple[OperatorChange, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return self.first is None and not any(change.relative or change.a != change.b for change in self.metrics)

    def metric(self, name: str) -> MetricChange:
        """The change of a metric.

        Raises:
            UsageError: there is no such metric; lists all.
        """
        for change in self.metrics:
            if change.metric == name:
                return change
        raise UsageError(f"there is no metric {name!r}; known are {', '.join(METRICS)}")

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain dictionaries and lists, as the JSON has it."""
        plain: dict[str, Any] = msgspec.json.decode(self.to_json())
        return plain

    def to_json(self) -> bytes:
        """The difference as JSON, one line."""
        return msgspec.json.encode(self)


def diff(a: Report, b: Report) -> Difference:
    """What changed from `a` to `b`. Operators are matched by module path and type, then by what they compute."""
    mean_s, mean_j = (a.latency_s + b.latency_s) / 2, (a.energy_j + b.energy_j) / 2
    pairs = list(_matched(a.operators, b.operators))
    partners = {old.operator_id: new.operator_id for old, new in pairs if old is not None and new is not None}
    mates_a, mates_b = _mates(a), _mates(b)

    def change(old: OperatorReport | None, new: OperatorReport | None) -> OperatorChange:
        energy = _minus(new.energy_j if new else 0.0, old.energy_j if old else 0.0)
        latency = _minus(new.latency_s if new else 0.0, old.latency_s if old else 0.0)
        shown = new or old
        assert shown is not None
        status: Status = "changed" if energy or latency or _shape(old) != _shape(new) else "unchanged"
        regrouped = False
        if old is None or new is None:
            status = "removed" if new is None else "added"
        else:
            before = {partners.get(mate, f"- {mate}") for mate in mates_a[old.operator_id]}
            regrouped = before != set(mates_b[new.operator_id])
        return OperatorChange(
            name=_name(shown),
            operator_type=shown.operator_type,
            status=status,
            is_regrouped=regrouped,
            energy_j=energy,
            latency_s=latency,
            edp_js=energy * mean_s + latency * mean_j,
            a=old,
            b=new,
        )

    operators = tuple(change(old, new) for old, new in pairs)
    return Difference(
        schema="edpc/diff-v1",
        edpc_version=__version__,
        a=_side(a),
        b=_side(b),
        metrics=tuple(_metric(name, read(a), read(b)) for name, read in METRICS.items()),
        first=next((i for i, op in enumerate(operators) if op.status != "unchanged" or op.is_regrouped), None),
        operators=operators,
    )


def read_reports(path: str | Path) -> tuple[Report, ...] | None:
    """The reports that a saved JSON holds (one, or those of a comparison); None where the file is no report of edpc.

    Raises:
        UsageError: it is one, of a version whose fields this edpc does not know.
    """
    from edpc.report.compare import Comparison

    try:
        data = Path(path).read_bytes()
        schema = msgspec.json.decode(data, type=_Tagged).schema
    except (OSError, msgspec.DecodeError):
        return None
    kinds: dict[str, type[Report] | type[Comparison]] = {"edpc/report-v1": Report, "edpc/comparison-v1": Comparison}
    if schema not in kinds:
        return None
    try:
        found = msgspec.json.decode(data, type=kinds[schema])
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is a report that this edpc ({__version__}) cannot read: {error}; make it anew") from None
    return found.reports if isinstance(found, Comparison) else (found,)


class _Tagged(msgspec.Struct):
    schema: str


def _side(report: Report) -> Side:
    target = report.target
    return Side(report.model.name, target.name, target.precision, target.batch, report.energy_j, report.latency_s, report.edp_js)


def _metric(name: str, a: float, b: float) -> MetricChange:
    change = _minus(b, a)
    return MetricChange(name, a, b, change / a if a else None if b else 0.0)


def _minus(b: float, a: float) -> float:
    return 0.0 if math.isclose(a, b, rel_tol=_SAME) else b - a


def _name(op: OperatorReport) -> str:
    """The module path and the operator's own name, which may hold it already."""
    own = op.source_name
    return own if not op.module_path or op.module_path in own.replace("/", ".") else f"{op.module_path}: {own}"


def _shape(op: OperatorReport | None) -> Hashable:
    """What an operator computes and touches."""
    return op and (op.operator_type, op.macs, op.flops, op.bytes_read, op.bytes_written)


def _mates(report: Report) -> dict[str, list[str]]:
    """For every operator those of its subgraph."""
    return {member: list(subgraph.operators) for subgraph in report.subgraphs for member in subgraph.operators}


# --- matching ------------------------------------------------------------------------------------------------

_Pair = tuple[OperatorReport | None, OperatorReport | None]
_Key = Callable[[OperatorReport], Hashable]


def _place(op: OperatorReport) -> Hashable:
    return op.module_path or op.source_name, op.operator_type


def _matched(a: Sequence[OperatorReport], b: Sequence[OperatorReport]) -> Iterator[_Pair]:
    """Every operator once, with its partner or none, in the order of `b`; what was removed stands where it was in `a`."""
    pairs = list(_aligned(a, b, (_place, _shape, lambda op: op.operator_type)))
    # What keeps its place in the model and runs at another time shows up as removed and added.
    removed: dict[Hashable, list[OperatorReport]] = {}
    for old, new in pairs:
        if old is not None and new is None:
            removed.setdefault(_place(old), []).append(old)
    moved: dict[str, OperatorReport] = {}
    gone: set[str] = set()
    for old, new in pairs:
        if old is None and new is not None and removed.get(_place(new)):
            moved[new.operator_id] = removed[_place(new)].pop(0)
            gone.add(moved[new.operator_id].operator_id)
    for old, new in pairs:
        if old is not None and new is None:
            if old.operator_id not in gone:
                yield old, new
        else:
            yield (moved.get(new.operator_id) if new is not None and old is None else old), new


def _aligned(a: Sequence[OperatorReport], b: Sequence[OperatorReport], keys: Sequence[_Key]) -> Iterator[_Pair]:
    """The two sequences aligned by the first key; what it leaves between two matches, by the next one."""
    if not keys or not a or not b:
        yield from ((old, None) for old in a)
        yield from ((None, new) for new in b)
        return
    key, *rest = keys
    matcher = SequenceMatcher(None, [key(op) for op in a], [key(op) for op in b], autojunk=False)
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(a[a0:a1], b[b0:b1], strict=True)
        else:
            yield from _aligned(a[a0:a1], b[b0:b1], rest)
