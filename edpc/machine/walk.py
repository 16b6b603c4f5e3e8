"""The one walk over a graph: operators, tensors and reads as columns, whatever the groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edpc.errors import VerifyError
from edpc.ir import RETURN_KIND, Graph, Operator, TensorType, Value, Work
from edpc.machine.table import Flags, Floats, Ints, Names
from edpc.operators import KINDS, VIEW, Family

_WEIGHTS = frozenset({"parameter", "constant"})


@dataclass(frozen=True, slots=True)
class Walk:
    """A graph's operators (n), contractions (c), tensors (t) and reads of tensors (r) as arrays.

    Operators and contractions are as in `KernelTable`. Views are looked through: a tensor is what a source or an operator that
    is no view holds, however it is viewed, and a read is by an operator that touches at least one byte.

    Attributes:
        moved_bytes: all bytes an operator reads and writes, shape (n,).
        producer: row of a tensor's operator, -1 for a source; shape (t,).
        whole: row of the operator that last wrote all of a tensor, -1 for a source: where a call writes a part in place, that is
            the operator which made what it writes into; shape (t,).
        weight: whether it is a parameter, a constant or a single element, none of which counts as an access; shape (t,).
        size: bytes its producer writes, shape (t,).
        returned: whether it is a result of the graph, shape (t,).
        reader: row of the reading operator, ascending; tensor: what it reads; read_bytes: how much; shape (r,).
        mask: of softmax rows: (causal, window, query_group).
        operators: the payloads, shape (n,).
    """

    names: tuple[str, ...]
    kind: Names
    family: Names
    precision: Names
    macs: Floats
    vector_ops: Floats
    transcendentals: Floats
    rows: Floats
    cols: Floats
    executions: Floats
    free: Flags
    moved_bytes: Floats
    owner: Ints
    batch: Floats
    m: Floats
    n: Floats
    k: Floats
    steps: Floats
    producer: Ints
    whole: Ints
    weight: Flags
    size: Floats
    returned: Flags
    reader: Ints
    tensor: Ints
    read_bytes: Floats
    mask: dict[int, tuple[bool, int, int]]
    operators: tuple[Operator, ...]


class _Tensors:
    """Tensors in the order they are first met, by number."""

    def __init__(self, ops: dict[str, Operator], rows: dict[str, int], whole: dict[str, int]) -> None:
        self.ops = ops
        self.rows = rows
        self.made = whole
        self.index: dict[Value, int] = {}
        self.producer: list[int] = []
        self.whole: list[int] = []
        self.weight: list[bool] = []
        self.size: list[float] = []
        self.cap: list[float] = []  # bytes that memory holds of it
        self.returned: list[bool] = []
        self._sizes: dict[TensorType, tuple[float, bool]] = {}

    def number(self, value: Value) -> int:
        """The number of a tensor, which is entered when first met."""
        known = self.index.get(value)
        if known is not None:
            return known
        op = self.ops[value.node]
        cap, single = self._size(op.outputs[value.result])
        writes = op.work.writes if op.work is not None else ()
        number = self.index[value] = len(self.producer)
        self.producer.append(self.rows.get(value.node, -1))
        self.whole.append(self.made.get(value.node, -1))
        self.weight.append(single or op.kind in _WEIGHTS)
        self.size.append(float(writes[value.result]) if value.result < len(writes) else 0.0)
        self.cap.append(cap)
        self.returned.append(False)
        return number

    def _size(self, kind: TensorType) -> tuple[float, bool]:
        """Bytes (infinite where they are not known) and whether it is a single element."""
        if kind not in self._sizes:
            size = float(kind.num_bytes) if kind.is_static else 0.0
            self._sizes[kind] = (size if size > 0.0 else np.inf, kind.is_static and kind.numel <= 1)
        return self._sizes[kind]


def walk(graph: Graph) -> Walk:
    """The graph's columns; every operator that computes must carry its work.

    Raises:
        VerifyError: an operator carries no work.
    """
    by_name = {name: graph.op(name) for name in graph.order()}
    order = [name for name, op in by_name.items() if op.is_compute]
    ops = [by_name[name] for name in order]
    works = [_work_of(name, op) for name, op in zip(order, ops, strict=True)]
    family = [KINDS[op.kind].family if op.kind in KINDS else Family.UNKNOWN for op in ops]
    executions = [_executions(op) for op in ops]
    free = [
        op.kind in VIEW or (w.flops == 0 and not any(w.reads) and not any(w.writes)) for op, w in zip(ops, works, strict=True)
    ]

    root: dict[str, Value] = {}
    whole: dict[str, int] = {}
    tensors = _Tensors(by_name, {name: row for row, name in enumerate(order)}, whole)
    reads: list[tuple[int, int, float]] = []
    for row, (name, op, work) in enumerate(zip(order, ops, works, strict=True)):
        operands = graph.operands(name)
        if op.kind in VIEW and operands:
            root[name] = root.get(operands[0].node, operands[0])
            continue
        target = root.get(operands[0].node, operands[0]).node if operands and _writes_a_part(op, work) else None
        whole[name] = row if target is None else whole.get(target, -1)
        for value, touched in zip(operands, work.reads, strict=False):
            if touched > 0:
                t = tensors.number(root.get(value.node, value))
                # A broadcast view repeats bytes of its source; memory holds them once.
                runs = executions[row]
                most = tensors.cap[t] * runs if runs > 1 else tensors.cap[t]
                reads.append((row, t, touched if touched < most else most))
    for name, op in by_name.items():
        if op.kind == RETURN_KIND:
            for value in graph.operands(name):
                tensors.returned[tensors.number(root.get(value.node, value))] = True

    contractions = [(row, c) for row, work in enumerate(works) for c in work.contractions]
    table = np.array(reads, float).reshape(-1, 3)
    return Walk(
        names=tuple(order),
        kind=np.array([op.kind for op in ops], str),
        family=np.array([f.value for f in family], str),
        precision=np.array([w.precision for w in works], str),
        macs=np.array([w.macs for w in works], float),
        vector_ops=np.array([w.vector_ops for w in works], float),
        transcendentals=np.array([w.transcendentals for w in works], float),
        rows=np.array([w.rows for w in works], float),
        cols=np.array([w.cols for w in works], float),
        executions=np.array(executions, float),
        free=np.array(free, bool),
        moved_bytes=np.array([sum(w.reads) + sum(w.writes) for w in works], float),
        owner=np.array([row for row, _ in contractions], np.int64),
        batch=np.array([c.batch for _, c in contractions], float),
        m=np.array([c.m for _, c in contractions], float),
        n=np.array([c.n for _, c in contractions], float),
        k=np.array([c.k for _, c in contractions], float),
        steps=np.array([c.steps for _, c in contractions], float),
        producer=np.array(tensors.producer, np.int64),
        whole=np.array(tensors.whole, np.int64),
        weight=np.array(tensors.weight, bool),
        size=np.array(tensors.size, float),
        returned=np.array(tensors.returned, bool),
        reader=table[:, 0].astype(np.int64),
        tensor=table[:, 1].astype(np.int64),
        read_bytes=table[:, 2],
        mask={
            row: (bool(op.attribute("causal", False)), _integer(op, "window", 0), _integer(op, "query_group", 1))
            for row, op in enumerate(ops)
            if family[row] is Family.SOFTMAX
        },
        operators=tuple(ops),
    )


def _work_of(name: str, op: Operator) -> Work:
    if op.work is None:
        raise VerifyError(f"%{name} ({op.kind}) carries no work; run annotate-operators first")
    return op.work


def _writes_a_part(op: Operator, work: Work) -> bool:
    """Whether its result is its first operand with a part of it written anew, in place."""
    out = op.outputs[0] if op.outputs else None
    if out is None or not op.inputs or op.inputs[0] != out or not out.is_static:
        return False
    return bool(work.writes) and 0 < work.writes[0] < out.num_bytes


def _integer(op: Operator, name: str, default: int) -> int:
    value = op.attribute(name, default)
    return int(value) if isinstance(value, (int, float)) else default


def _executions(op: Operator) -> int:
    return _integer(op, "executions", 1)
