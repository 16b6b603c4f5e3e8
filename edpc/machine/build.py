"""From a graph and a partition of its operators to columns: who reads and writes what across which kernel's border.

Rules:
    * An operand is external where its producer stands outside the kernel. A kernel reads an external tensor once, however many
      members read it: the first reader is charged the most that any member touches.
    * Parameters, constants and single elements are weights: bytes, no access. Other tensors are accesses.
    * A result that is read outside the kernel or returned is written once; it goes to DRAM.
    * An external activation is warm where it and the traffic since it was last written whole both fit the warm part of the
      last-level cache (`llc.warm_fraction` of its capacity): writing one token into a cache of keys warms no other. Graph inputs
      count as just written before the first kernel. The traffic is the lesser of this schedule's and of the schedule without
      fusion, so that fusing never turns a warm operand cold and never adds DRAM bytes.
    * A result stays on chip where every reader finds it warm, and so does whoever takes the graph's results at the end. It is an
      access, and written, all the same; a machine whose setting `residency` is on does not write it to DRAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edpc.ir import Graph, Group
from edpc.machine.table import Flags, Floats, Ints, KernelTable
from edpc.machine.walk import Walk, walk
from edpc.target import Target, kernel_class


@dataclass(frozen=True, slots=True)
class _Border:
    """What crosses kernel borders: one row per kernel and tensor it reads from outside."""

    kernel: Ints
    tensor: Ints
    first_reader: Ints
    read_bytes: Floats
    entry: Ints  # the reads behind a row, in order: entry[starts[i]:starts[i + 1]]
    starts: Ints
    inside: Flags  # per read: its producer is in the same kernel
    leaves: Flags  # per tensor: it is written for others
    traffic: Floats  # per kernel: bytes across its border


def build_table(graph: Graph, groups: Sequence[Group], target: Target) -> KernelTable:
    """The columns of a graph whose operators run in these groups, in one walk.

    Args:
        graph: every operator carries its work.
        groups: a partition of the graph's operators, in order of execution.
        target: says how large the last-level cache is.

    Raises:
        VerifyError: an operator carries no work.
        KeyError: an operator stands in no group.
    """
    return kernelise(walk(graph), groups, target)


def singletons(columns: Walk) -> tuple[Group, ...]:
    """Every operator a group of its own: the schedule without fusion. Groups are named after their operators."""
    return tuple(
        Group(name, "separate", kernel_class(kind), (name,))
        for name, kind in zip(columns.names, columns.kind.tolist(), strict=True)
    )


def kernelise(columns: Walk, groups: Sequence[Group], target: Target) -> KernelTable:
    """The columns of a walked graph whose operators run in these groups; see `build_table`."""
    n, g = len(columns.names), len(groups)
    row_of = {member: number for number, group in enumerate(groups) for member in group.members}
    kernel = np.array([row_of[name] for name in columns.names], np.int64)
    border = _border(columns, kernel, g)
    warm, stays = _warm(columns, kernel, border, target)

    weight = columns.weight[border.tensor]

    def charged(where: Flags, amount: Floats | float = 1.0) -> Floats:
        return _total(border.first_reader[where], np.broadcast_to(amount, where.shape)[where], n)

    written = border.leaves & (columns.producer >= 0)
    writer = columns.producer[written]
    stays &= written
    read_inside = np.zeros(len(columns.producer), bool)
    read_inside[columns.tensor[border.inside]] = True
    on_chip = _total(columns.reader[border.inside], columns.read_bytes[border.inside], n)
    on_chip += _total(columns.producer[read_inside], columns.size[read_inside], n)
    counted = written & ~columns.weight & (columns.size > 0.0)

    launches = np.zeros(g)
    np.maximum.at(launches, kernel, np.where(columns.free, 0.0, columns.executions))
    causal, window, query_group = _masks(columns, groups, kernel)
    return KernelTable(
        names=columns.names,
        kind=columns.kind,
        family=columns.family,
        precision=columns.precision,
        kernel=kernel,
        macs=columns.macs,
        vector_ops=columns.vector_ops,
        transcendentals=columns.transcendentals,
        rows=columns.rows,
        cols=columns.cols,
        executions=columns.executions,
        weight_bytes=charged(weight, border.read_bytes),
        cold_bytes=charged(~weight & ~warm, border.read_bytes),
        warm_bytes=charged(~weight & warm, border.read_bytes),
        write_bytes=_total(writer, columns.size[written], n),
        resident_bytes=_total(columns.producer[stays], columns.size[stays], n),
        on_chip_bytes=on_chip,
        accesses=charged(~weight) + _total(columns.producer[counted], np.ones(int(counted.sum())), n),
        free=columns.free,
        owner=columns.owner,
        batch=columns.batch,
        m=columns.m,
        n=columns.n,
        k=columns.k,
        steps=columns.steps,
        group=tuple(group.name for group in groups),
        kernel_class=np.array([group.kernel_class for group in groups], str),
        rule=np.array([group.rule for group in groups], str),
        launches=launches,
        anchor=_anchors(columns, kernel, g),
        causal=causal,
        window=window,
        query_group=query_group,
        operators=columns.operators,
    )


def _border(columns: Walk, kernel: Ints, g: int) -> _Border:
    """What crosses the borders of a partition given as every operator's kernel."""
    t = len(columns.producer)
    at = np.where(columns.producer >= 0, kernel[columns.producer] if len(kernel) else -1, -1)
    reading = kernel[columns.reader]
    inside = reading == at[columns.tensor]
    outside = np.flatnonzero(~inside)
    key = reading[outside] * t + columns.tensor[outside]
    entry = outside[np.argsort(key, kind="stable")]
    pair, starts = np.unique(np.sort(key), return_index=True)
    leaves = columns.returned.copy()
    leaves[columns.tensor[outside]] = True
    read = np.maximum.reduceat(columns.read_bytes[entry], starts) if len(starts) else np.zeros(0)
    pair_kernel = pair // max(t, 1)
    written = leaves & (columns.producer >= 0)
    return _Border(
        kernel=pair_kernel,
        tensor=pair % max(t, 1),
        first_reader=columns.reader[entry[starts]],
        read_bytes=read,
        entry=entry,
        starts=starts,
        inside=inside,
        leaves=leaves,
        traffic=_total(pair_kernel, read, g) + _total(at[written], columns.size[written], g),
    )


def _warm(columns: Walk, kernel: Ints, border: _Border, target: Target) -> tuple[Flags, Flags]:
    """Which rows of the border are still in the last-level cache when they are read, and which tensors never leave it.

    A tensor that stays when nothing is fused stays under any fusion, because its reads are warm there too.
    """
    constants = target.constants()
    room = constants.get("llc.warm_fraction", 0.0) * constants.get("llc.capacity", 0.0)
    if room <= 0.0:
        return np.zeros(len(border.starts), bool), np.zeros(len(columns.producer), bool)
    n, g = len(kernel), len(border.traffic)
    alone = _border(columns, np.arange(n), n)
    at = np.where(columns.whole >= 0, kernel[columns.whole] if n else -1, -1)
    stays = columns.size <= room
    # Whoever takes the network's results takes them after the last kernel.
    last = np.minimum(_since(border.traffic, g, at), _since(alone.traffic, n, columns.whole))
    stays[columns.returned & (last > room)] = False
    if not len(border.starts):
        return np.zeros(0, bool), stays
    since_alone = _since(alone.traffic, columns.reader, columns.whole[columns.tensor])
    since = _since(border.traffic, border.kernel, at[border.tensor])
    nearest = np.minimum(since, np.minimum.reduceat(since_alone[border.entry], border.starts))
    warm = (border.read_bytes <= room) & (nearest <= room)
    stays[border.tensor[~warm]] = False
    return warm, stays


def _since(traffic: Floats, consumer: Ints | int, producer: Ints) -> Floats:
    """Bytes moved between the end of a producer (-1: before the first) and the start of its consumer."""
    before = np.concatenate([[0.0], np.cumsum(traffic)])
    since: Floats = before[consumer] - before[producer + 1]
    return since


def _anchors(columns: Walk, kernel: Ints, g: int) -> Ints:
    """Every kernel's operator with most FLOPs, then most bytes, then the first."""
    flops = 2.0 * columns.macs + columns.vector_ops + columns.transcendentals
    order = np.lexsort((-columns.moved_bytes, -flops, kernel))
    anchor = np.zeros(g, np.int64)
    _, first = np.unique(kernel[order], return_index=True)
    anchor[kernel[order][first]] = order[first]
    return anchor


def _masks(columns: Walk, groups: Sequence[Group], kernel: Ints) -> tuple[Flags, Floats, Floats]:
    """Causality, window and query heads per key head of attention kernels, as their softmax has them."""
    g = len(groups)
    causal, window, query_group = np.zeros(g, bool), np.zeros(g), np.ones(g)
    for row, mask in columns.mask.items():
        number = int(kernel[row])
        if groups[number].kernel_class == "attention":
            causal[number], window[number], query_group[number] = mask
    return causal, window, query_group


def _total(index: Ints, amount: Floats, length: int) -> Floats:
    total: Floats = np.bincount(index, amount, length).astype(float)
    return total
