"""What a language model costs where it is served: a step of the batch, its latency between tokens, power, joules per token.

A serving stack decodes a batch of sequences step by step. New requests replace finished ones, so some steps also read prompts:
their number is Poisson distributed. The stack itself adds a gap between steps (scheduler, launch of the sampler, conversion to
text) and the sampler, which sorts the logits of every sequence. Both were fitted to vLLM on one H100 in bf16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from edpc import api, frontends
from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.machine.account import power_stretch
from edpc.machine.build import kernelise
from edpc.machine.catalogue import model_of
from edpc.machine.mixed_step import from_memory, heads, prompt_attention, vocabulary, with_tokens
from edpc.machine.model import CostModel
from edpc.machine.table import Floats, KernelTable
from edpc.machine.uncertainty import constant_draws, interval, total_draws
from edpc.machine.walk import walk
from edpc.target import Target

CHAT_SPREAD = 0.9  # standard deviation over mean of the lengths of chat answers
FIGURES = ("inter_token_s", "step_s", "power_w", "tokens_per_s", "energy_per_token_j")
_RAREST = 1e-6  # steps with more prompts than all but this share are left out
# What the thread blocks of another library's decode attention cost beside the stream of its cache, and its floors.
_THREAD_BLOCKS = (
    *(f"attention.{form}.cta" for form in ("mmha", "xqa", "xqa8")),
    *("attention.xqa.cta8", "attention.xqa.key", "attention.mmha.key", "attention.mmha.loop", "attention.mmha.second"),
    *("attention.xqa8.wide", "attention.decode.merge"),
)
_FLOORS = ("attention.mmha.floor", "attention.xqa.floor", "attention.xqa.floor8", "attention.xqa8.floor")
_REPLACED = "energies of products, DRAM and clocked multiprocessors, and the floor of decode attention, are those of serving.*"
_STACK = "stack-projections,cache-in-place"


def mean_context(prompt: float, output: float, spread: float) -> float:
    """Tokens in the cache of a sequence at a random step: prompt + E[o^2] / (2 E[o]).

    A long answer is met more often than a short one, in proportion to its length, and at a random place of it.

    Args:
        prompt: tokens of a prompt.
        output: mean tokens of an answer.
        spread: standard deviation of an answer's length over its mean; 0 where all are alike.
    """
    return prompt + output * (1.0 + spread * spread) / 2.0


def arrivals(rate: float) -> tuple[float, ...]:
    """Poisson probabilities of 0, 1, 2, ... new requests in a step of `rate` expected ones; they sum to 1.

    The tail beyond a millionth goes to the last one.
    """
    found = [exp(-rate)]
    while 1.0 - sum(found) > _RAREST:
        found.append(found[-1] * rate / len(found))
    found[-1] += 1.0 - sum(found)
    return tuple(found)


def median_arrivals(shares: Sequence[float]) -> int:
    """The number of new requests that half of all steps do not exceed."""
    return int(np.searchsorted(np.cumsum(shares), 0.5))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the batch. Latencies in s; energy in J, idle power included.

    Attributes:
        prompts: prompts read in it. share: of all steps.
        gpu_s: kernels of the network. sampling_s: the sampler. gap_s: the device waits for the stack. energy_j: of all three.
    """

    prompts: int
    share: float
    gpu_s: float
    sampling_s: float
    gap_s: float
    energy_j: float

    @property
    def latency_s(self) -> float:
        """From one token to the next."""
        return self.gpu_s + self.sampling_s + self.gap_s


@dataclass(frozen=True, slots=True)
class Served:
    """A language model being served.

    Attributes:
        model, target, precision: names. batch: sequences decoded at once. context: tokens in a sequence's cache, mean.
        steps: by number of prompts read; the first reads none.
        notes: what a reader must know.
        intervals: 90 % intervals of the figures, by name.
    """

    model: str
    target: str
    precision: str
    batch: int
    prompt: int
    output: float
    context: float
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def inter_token_s(self) -> float:
        """Inter-token latency, median: that of a step with a median number of prompts."""
        return self._figure("inter_token_s")

    @property
    def step_s(self) -> float:
        """Mean latency of a step."""
        return self._figure("step_s")

    @property
    def power_w(self) -> float:
        """Mean board power."""
        return self._figure("power_w")

    @property
    def tokens_per_s(self) -> float:
        """Tokens decoded per second, all sequences together."""
        return self._figure("tokens_per_s")

    @property
    def energy_per_token_j(self) -> float:
        """Joules per decoded token, the reading of prompts included."""
        return self._figure("energy_per_token_j")

    def _figure(self, name: str) -> float:
        shares = [step.share for step in self.steps]
        found = _mixed(shares, [step.latency_s for step in self.steps], [step.energy_j for step in self.steps], self.batch)
        return float(found[name])

    def to_dict(self) -> dict[str, Any]:
        """SI figures without rounding."""
        names = ("model", "target", "precision", "batch", "prompt", "output", "context")
        found: dict[str, Any] = {name: getattr(self, name) for name in (*names, *FIGURES)}
        found["intervals"] = {name: list(self.intervals[name]) for name in FIGURES if name in self.intervals}
        parts = ("prompts", "share", "gpu_s", "sampling_s", "gap_s", "latency_s", "energy_j")
        found["steps"] = [{name: getattr(step, name) for name in parts} for step in self.steps]
        return {"schema": "edpc/serving-v1", **found, "notes": list(self.notes)}


def serve(
    source: api.Model,
    target: str | Target = "h100",
    *,
    prompt: int,
    output: float,
    batch: int,
    spread: float = CHAT_SPREAD,
    precision: str | None = "bf16",
    set: api.Settings = (),
) -> Served:
    """What a decoder costs where it is served.

    Args:
        source: `hf:PATH`, `block:llama-decoder?...`, or a network that is a decode step already (then of that batch and context).
        target: a GPU.
        prompt: tokens of a prompt.
        output: mean tokens of an answer.
        batch: sequences decoded at once.
        spread: of the answers' lengths, as of `mean_context`.
        precision: as of `edpc.compile`.
        set: as of `edpc.compile`; `serving=off` leaves the stack out: no gap, no sampler, no prompts.

    Raises:
        UsageError: a length is not positive, or the target has no serving stack.
        ModelError: the model cannot be read.
    """
    for name, value in (("prompt", prompt), ("output", output), ("batch", batch)):
        if value < 1:
            raise UsageError(f"{name} is 1 or more, not {value:g}")
    if spread < 0.0:
        raise UsageError(f"spread is not negative; {spread:g} is")
    machine = api.configure(target, set)
    if "serving" not in machine.settings:
        raise UsageError(f"target {machine.name} describes no serving stack; h100 and h200 do")
    context = mean_context(prompt, output, spread)
    graph, notes = _decode_step(source, batch, max(round(context), 1))
    before, cut, _ = machine.pipeline.partition(",annotate-cost")
    if not cut:
        raise UsageError(f"target {machine.name}: its pipeline has no annotate-cost to stop before")
    api.run(graph, machine, precision=precision, pipeline=before.replace("import-cleanup", f"import-cleanup,{_STACK}", 1))
    table = from_memory(kernelise(walk(graph), graph.groups, machine))
    on = machine.setting("serving") == "on"
    shares = arrivals(batch / output) if on else (1.0,)
    priced = _Priced(model_of(machine), _serving(machine), table, batch, prompt, on, machine.constants()["power.cap"])
    parts = [priced.parts(prompts) for prompts in range(len(shares))]
    mixed = _mixed(shares, [gpu + sampling + gap for gpu, sampling, gap, _ in parts], [part[-1] for part in parts], batch)
    stack = machine.settings["serving"].doc if on else "the bare network: serving is off"
    return Served(
        model=graph.info.source or graph.name,
        target=machine.name,
        precision=graph.info.precision,
        batch=batch,
        prompt=prompt,
        output=output,
        context=context,
        steps=tuple(
            Step(n, share, *(float(x[0]) for x in part)) for n, (share, part) in enumerate(zip(shares, parts, strict=True))
        ),
        notes=(*notes, stack, _REPLACED, *graph.info.notes),
        intervals={name: interval(figure[1:], float(figure[0])) for name, figure in mixed.items()},
    )


def _mixed(shares: Sequence[float], latency_s: Sequence[Any], energy_j: Sequence[Any], batch: int) -> dict[str, Any]:
    """The figures of a mixture of steps, by name; latencies and energies are numbers, or arrays of one shape (machines,)."""
    step_s = sum(share * latency for share, latency in zip(shares, latency_s, strict=True))
    joules = sum(share * energy for share, energy in zip(shares, energy_j, strict=True))
    figures = latency_s[median_arrivals(shares)], step_s, joules / step_s, batch / step_s, joules / batch
    return dict(zip(FIGURES, figures, strict=True))


def _serving(machine: Target) -> Target:
    """The machine as the serving stack drives it.

    Its decode attention streams the cache at the rate of reads, and has a floor. Energies are those of serving. The power limit
    is kept over a step, not in each of its short kernels.
    """
    known = machine.parameters
    dram, matrix, floor = (known[f"serving.{name}"] for name in ("dram_energy", "matrix_energy", "attention_floor"))
    kept = {key: known["serving.active_power"] if key == "power.active" else known[key] for key in known}
    kept |= {key: replace(known[key], value=0.0, range=None) for key in _THREAD_BLOCKS}
    kept |= dict.fromkeys(_FLOORS, floor) | {"power.cap": replace(known["power.cap"], value=np.inf, range=None)}
    return replace(
        machine,
        parameters=kept,
        units=tuple(
            replace(u, energy={**u.energy, **dict.fromkeys({"bf16", "fp16"} & set(u.energy), matrix)})
            if u.name == "matrix"
            else u
            for u in machine.units
        ),
        memories=tuple(replace(m, read_energy=dram, write_energy=dram) if m.role == "dram" else m for m in machine.memories),
    )


def _decode_step(source: api.Model, batch: int, past: int) -> tuple[Graph, list[str]]:
    """The graph of one step of the batch with so many tokens in every cache."""
    if isinstance(source, str) and source.startswith("block:"):
        head, _, query = source.partition("?")
        told = dict(parse_qsl(query)) | {"phase": "decode", "past": str(past), "batch": str(batch)}
        return api.load(f"{head}?{urlencode(told)}"), []
    if isinstance(source, str) and source.startswith("hf:"):
        options: dict[str, Any] = {"batch": batch, "phase": "decode", "past": past}
        return frontends.load(source, **options), []
    graph = api.load(source)
    if graph.info.batch != batch:
        raise UsageError(f"{graph.info.source or graph.name} is a step of {graph.info.batch} sequences, not of {batch}")
    return graph, ["the network is taken as it is: the context of its cache is its own"]


@dataclass(frozen=True)
class _Priced:
    """A decode step and what steps that also read prompts cost.

    Attributes:
        on: whether the stack has a share of its own. cap_w: board power that the clock is held to over a step.
    """

    model: CostModel
    target: Target
    table: KernelTable
    batch: int
    prompt: int
    on: bool
    cap_w: float

    def parts(self, prompts: int) -> tuple[Floats, Floats, Floats, Floats]:
        """A step that reads so many prompts: latency of the network, of the sampler and of the gap, in s, and energy in J.

        Of the nominal machine first, then of the drawn ones: shape (1 + draws,) each.
        """
        c = constant_draws(self.target)
        static = c["static_power"]
        gpu, energy = self._cost(with_tokens(self.table, self.batch, prompts * self.prompt) if prompts else self.table)
        if prompts:
            for head in heads(self.table, self.batch):
                latency, joules = self._cost(prompt_attention(head, prompts, self.prompt, self.target))
                again = c["serving.mixed_attention"]
                gpu = gpu + head.kernels * (latency + again)
                energy = energy + head.kernels * (joules + again * (static + c["power.active"]))
        sampling = self.on * c["serving.sampling"] * self.batch * vocabulary(self.table)
        gap = self.on * (c["serving.step_gap"] + prompts * c["serving.prompt_stall"])
        sort = c["serving.sampling_bandwidth"] * c["dram.read_energy"]
        energy = energy + sampling * (static + c["power.active"] + sort) + gap * static
        total = gpu + sampling + gap
        slower = gpu * power_stretch(total, sampling + gap, energy - static * total, self.cap_w, static)
        return slower, sampling, gap, energy + static * (slower - gpu)

    def _cost(self, table: KernelTable) -> tuple[Floats, Floats]:
        """Latency (s) and energy (J), idle power included, of all kernels of a table."""
        energy, latency = total_draws(self.model, table, self.target, self.model.plan(table, self.target))
        return latency, energy
